"""The two things that can be wrong and are nobody's bug: the input, and a task that a method cannot work on."""


class InputError(Exception):
    """Bad input in one sentence: what is wrong, where, and what to do. The command line exits with status 2."""


class Unsupported(Exception):
    """A row cannot work on this task or collection, and why, in one sentence.

    The tables then show a gap with the reason as a footnote. Whatever else a row raises is a failed fit.
    """
