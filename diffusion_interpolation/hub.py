"""Models of the Hugging Face hub, each at one commit: OWNER/NAME or OWNER/NAME@REVISION."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

_HUB_ID = re.compile(r"(\w[\w.-]*/[\w.-]+)(?:@(\w[\w./-]*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubModel(NamedTuple):
    """A model of the hub; `revision` is a branch, a tag or a commit, None the newest."""

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubModel | None:
        """Read OWNER/NAME or OWNER/NAME@REVISION; None for anything else."""
        found = _HUB_ID.fullmatch(text)
        return cls(*found.groups()) if found else None

    @property
    def commit(self) -> str | None:
        """The commit, if that is what the revision is."""
        return self.revision if _COMMIT.fullmatch(self.revision or "") else None


def pinned(option: str, place: str | None) -> str | None:
    """Return `place` with the commit that its revision is now, if it names a model of the hub.

    What is pinned stays the same model in whatever is done later. Local folders and commits are
    returned as they are. Raises `ValueError` that names the `option` where the hub does not know
    the model, or cannot be reached and the model was not downloaded before.
    """
    if place is None or Path(place).exists():
        return place
    model = HubModel.parse(place)
    if model is None or model.commit:
        return place
    commit = _newest_commit(option, model)
    log.info("%s: %s is fetched at commit %s", option, place, commit)
    return f"{model.name}@{commit}"


def _newest_commit(option: str, model: HubModel) -> str:
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(model.name, revision=model.revision).sha
    except Exception as error:
        if commit := _downloaded_commit(model):
            return commit
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{option}: {model.name} cannot be fetched: {reason}") from error


def _downloaded_commit(model: HubModel) -> str | None:
    """Return the commit that was downloaded before, which is used where there is no network."""
    from huggingface_hub import try_to_load_from_cache

    # a pipeline has the first, a ControlNet the second, both in the folder of their commit
    for name in ("model_index.json", "config.json"):
        file = try_to_load_from_cache(model.name, name, revision=model.revision)
        if isinstance(file, str):
            return Path(file).parent.name
    return None
