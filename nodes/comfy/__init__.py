"""The model of the contract over what ComfyUI has loaded: nothing else knows its internals."""
