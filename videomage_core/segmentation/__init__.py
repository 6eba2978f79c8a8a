"""The parts of masks from words: GroundingDINO finds boxes, SAM 2 makes masks of them; each in two ways.

Weights come in the form their makers published (one file, run by the packages ``groundingdino`` and
``sam2``) or as a folder in the Hugging Face layout (run by transformers' own classes).  Whoever calls
cannot tell which: ``data/grounded_sam2.py`` puts them together behind the ``Segmenter`` contract.
"""
