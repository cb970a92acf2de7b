"""The text of an error, for use in a message: in one line, never empty, without secrets."""

from toprung.trainables.system.secrecy import redacted

MAX_CHARACTERS = 400


def one_line(error: BaseException) -> str:
    """The error's text in one line; the name of its type if it has no text."""
    text = " ".join(redacted(str(error)).split())[:MAX_CHARACTERS]
    return text if any(map(str.isalnum, text)) else type(error).__name__


def innermost(error: BaseException) -> BaseException:
    """The original error, from which, or while handling which, the others were raised."""
    seen = {id(error)}
    while (link := error.__cause__ or error.__context__) and id(link) not in seen:
        error = link
        seen.add(id(error))
    return error


def last_line(text: str) -> str:
    """The last line that contains a word, for example of a traceback; empty if there is none.

    The lines may also be separated by an escaped line feed (a backslash and an n).
    """
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines()]
    worded = [line for line in lines if any(map(str.isalnum, line))]
    return redacted(worded[-1])[:MAX_CHARACTERS] if worded else ""
