"""What a ComfyUI user drags: thin nodes, each of which calls one function of the engine."""
