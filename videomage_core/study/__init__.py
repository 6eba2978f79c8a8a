"""The human preference study of Sec. 7.2 as a page on this machine: which of two videos, by four questions."""
