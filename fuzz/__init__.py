"""A structured fuzzer of every entry point: python -m fuzz --minutes N [--op NAME] [--seed S].

A call is drawn by a random.Random of its own (fuzz/draw.py) from the arguments that the docstrings describe
(fuzz/contracts.py): sizes of 0 and 1, dtypes, strides, special values, ties, and at times what no docstring allows.
A second reading of the docstrings (fuzz/verdict.py) says whether it must be refused. A refusal must be in the words of
the house. An answer must have the documented shapes and dtypes, obey what holds of the op (fuzz/invariants.py) and
leave the arguments as they were; a share of the answers is compared with python_ref and with other ways to the same
bits (fuzz/reference.py).

The long run seeds each Random from a number, and derives seven more calls from each that it draws: microseconds, where
Hypothesis takes milliseconds. tests/package/test_fuzz.py hands the same functions Hypothesis's Random, which shrinks
what it finds. Calls run in child processes (fuzz/workers.py): of one that dies or hangs, what repeats it is printed.
"""
