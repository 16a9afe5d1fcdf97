"""Ways to make a path on puppets, where the truth is known: `python benchmarks/schemes.py`

Pairs of held-out puppets. `default` is what the package does, `paper` is the paper's way, and the
paper's other schemes run under the same prompt, poses, guidance, steps and levels as `paper`.
`cross-fade` mixes the pictures. `truth` is the puppets on the straight way themselves, drawn: it
shows how good a figure can be. Rows `..., N steps` evaluate the network about as often as the
default, and rows named after a setting change that one setting of the default. The distance of PPL,
rPPD and PDV is the chord between embeddings of the demo's CLIP, or LPIPS with `--lpips`. FID is
over those embeddings: all frames in between against all inputs, as the paper has it, and `to truth`
against the frames that should be there. A puppet half-way has half-way colours, which are not those
of the inputs.

`realism` is the root mean squared error between a frame and the puppet that the demo's reader reads
in it, drawn again. `joints` (% of the picture's height) and `colours` are how far the puppet is
from the straight way between the two. `limbs` is the share of frames that show all limbs. `evals`
counts runs of the network on one latent, both halves of guidance as one; textual inversion is
neither in them nor in the seconds. The first table has means over pairs, with half the width of
their 95 % interval, the second one has paired differences from the row `--against`. With `--model
demo-flow` no frames have poses, because the flow transformer has no ControlNet.

With `--results FOLDER`, records are written there as soon as a pair is measured, and the tables are
printed by `--table FOLDER`, anywhere. The same command continues where it was stopped; change
nothing but the ways in between. With `--poses both`, ways that never have poses are measured once.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from support.puppets import SIZE
from support.records import Record, Run, read_records
from support.report import parser, publish, write_json
from support.sheets import save_sheet, strip_file
from support.sweep import Plan, measure
from support.tables import Comparison, borrow, by_run
from ways import Way
from ways.rows import USUAL, named_ways, row_names, without_poses

from diffusion_interpolation.command.job import EMBEDDED, EMBEDDED_MODELS
from diffusion_interpolation.settings import SamplingSettings

BOTH = "both"


def main() -> None:
    words = _parser()
    args = words.parse_args()
    with TemporaryDirectory() as folder:
        kept, args.results = args.results, args.results or Path(folder)
        args.save_frames = args.save_frames or args.results / "frames"
        try:
            failed = 0 if args.table else _measure(args)
            records = list(read_records(args.table or [args.results]))
            if args.sheet:
                _save_sheet(args, records)
            if args.table or not kept:
                _publish(args, records)
        except ValueError as error:
            words.error(str(error))
    if failed:
        raise SystemExit(f"{failed} jobs failed; what they said is above")


def _parser() -> ArgumentParser:
    words = parser(__doc__, [*EMBEDDED_MODELS, BOTH])
    words.add_argument("--pairs", type=int, default=50)
    words.add_argument("--frames", type=int, default=17, help="of a path, the inputs among them")
    words.add_argument(
        "--steps", type=int, default=SamplingSettings.steps, help="of ways that do not name theirs"
    )
    words.add_argument("--side", type=int, default=SIZE, help=f"of pictures, in pixels ({SIZE})")
    words.add_argument("--poses", choices=("with", "without", BOTH), default="with")
    words.add_argument("--lpips", type=Path, metavar="FILE", help="torchvision's AlexNet weights")
    words.add_argument(
        "--ways",
        nargs="+",
        metavar="NAME",
        help="rows, or sets of rows: default, schemes, 'equal work', parts, sweep, peers "
        f"({', '.join(USUAL)})",
    )
    words.add_argument("--against", default="default", metavar="NAME", help="(default)")
    _add_output_options(words)
    _add_speed_options(words)
    return words


def _add_output_options(words: ArgumentParser) -> None:
    group = words.add_argument_group("output")
    group.add_argument("--results", type=Path, metavar="DIR", help="where to write the records")
    group.add_argument(
        "--table", type=Path, nargs="+", metavar="DIR", help="print tables of records, and end"
    )
    group.add_argument("--save-frames", type=Path, metavar="DIR", help="where to write frames")
    group.add_argument(
        "--shown", nargs="+", metavar="NAME", help="rows whose frames are written (none)"
    )
    group.add_argument("--strips", type=int, default=8, help="pairs whose frames are written (8)")
    group.add_argument("--sheet", type=Path, help="picture of the first pair's frames, by way")


def _add_speed_options(words: ArgumentParser) -> None:
    group = words.add_argument_group("speed")
    group.add_argument("--workers", type=int, default=1, help="processes that share the device (1)")
    group.add_argument("--group", type=int, default=1, help="pairs made in the same batches (1)")
    group.add_argument("--max-batch", type=int, default=16, help="latents in a batch (16)")
    group.add_argument("--limit", type=float, default=float("inf"), help="seconds to begin work in")


def _work(args: Namespace) -> list[tuple[Run, dict[str, Way]]]:
    """The runs that were asked for, with their ways."""
    found = []
    for model in EMBEDDED_MODELS if args.model == BOTH else [args.model]:
        can = (True, False) if model == EMBEDDED else (False,)
        asked = {"with": can[:1], "without": (False,), BOTH: can}[args.poses]
        for posed in asked:
            ways = named_ways(model, posed, args.ways or USUAL)
            if posed and len(asked) == 2:
                # the run without poses has them, and the table borrows them
                ways = {name: way for name, way in ways.items() if name not in without_poses()}
            for name, way in ways.items():
                if way.steps == SamplingSettings.steps:
                    ways[name] = way.changed(steps=args.steps)
            found.append((Run(model, posed, args.seed, args.frames, args.side), ways))
    return found


def _measure(args: Namespace) -> int:
    """Measure what has no records yet; return how many jobs failed."""
    work = _work(args)
    shown = args.shown or ([name for _, ways in work for name in ways] if args.sheet else [])
    plan = Plan(
        args.results,
        pairs=args.pairs,
        frames=args.frames,
        seed=args.seed,
        side=args.side,
        device=args.device,
        workers=args.workers,
        group=args.group,
        max_batch=args.max_batch,
        limit=args.limit,
        lpips=args.lpips,
        frames_to=args.save_frames,
        shown=shown,
        strips=args.strips,
    )
    return measure(plan, work)


def _save_sheet(args: Namespace, records: list[Record]) -> None:
    """Strips of the first pair, of the rows that `--shown` names, or of all that there are."""
    rows = dict.fromkeys((record.run, record.way) for record in records if record.pair == 0)
    order = args.shown or [way for _, way in rows]
    chosen = sorted((row for row in rows if row[1] in order), key=lambda row: order.index(row[1]))
    strips = [strip_file(args.save_frames, run, way, 0) for run, way in chosen]
    strips = [strip for strip in strips if strip.is_file()]
    if not strips:
        raise ValueError(f"--sheet: got no frames in {args.save_frames}, needs --save-frames")
    save_sheet(strips, args.sheet)


def _publish(args: Namespace, records: list[Record]) -> None:
    """Print the tables of each run; write the figures of all to `--json`."""
    rows: list[dict[str, object]] = []
    runs = by_run(records)
    borrow(runs, without_poses())
    for run, found in runs.items():
        poses = "with" if run.posed else "without"
        what = f"{run.frames} frames of {run.side} pixels, seed {run.seed}"
        print(f"\n{run.model}, {poses} poses, {what}\n")
        names = [name for name in row_names() if name in found]
        compared = Comparison(found, args.against, names)
        means, less = compared.means(), compared.differences()
        publish(means, None)
        if less:
            print()
            publish(less, None)
        about = run._asdict() | {"pairs": compared.pairs}
        rows += [{**row, **about} for row in (*means, *less)]
    if args.json:
        write_json(rows, args.json)


if __name__ == "__main__":
    main()
