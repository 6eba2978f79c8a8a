"""The ComfyUI nodes: thin, each calls one function of the engine."""
