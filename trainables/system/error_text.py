"""What an error says, for a message of ours: in one line, never empty, without secrets."""

from toprung.trainables.system.secrecy import redacted

MAX_CHARACTERS = 400


def one_line(error: BaseException) -> str:
    """The error's text in one line; the name of its kind where it has none."""
    text = " ".join(redacted(str(error)).split())[:MAX_CHARACTERS]
    return text if any(map(str.isalnum, text)) else type(error).__name__


def innermost(error: BaseException) -> BaseException:
    """The error that the others were raised from, or while handling: what the system said."""
    seen = {id(error)}
    while (link := error.__cause__ or error.__context__) and id(link) not in seen:
        error = link
        seen.add(id(error))
    return error


def last_line(text: str) -> str:
    """The last line with a word in it, of a traceback for example; empty if there is none.

    Its lines may be separated as in the text of a text: by a backslash and an n.
    """
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines()]
    worded = [line for line in lines if any(map(str.isalnum, line))]
    return redacted(worded[-1])[:MAX_CHARACTERS] if worded else ""
