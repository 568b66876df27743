"""What a machine makes of good files: bytes flipped, written over, put in, cut out and repeated."""

from hypothesis import settings
from hypothesis import strategies as st

# As many examples as take some seconds on a busy machine; one that was found is kept as an `example`.
few = settings(max_examples=20)
many = settings(few, max_examples=50)

numbers = [b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00", (2**62).to_bytes(8, "little"), b"9" * 12]
edits = st.lists(
    st.tuples(
        st.sampled_from(["any", "start", "end"]),  # the ends of a file hold what tells sizes
        st.floats(0, 1),
        st.sampled_from(["flip", "write", "insert", "delete", "repeat"]),
        st.one_of(st.binary(min_size=1, max_size=16), st.sampled_from(numbers)),
    ),
    min_size=1,
    max_size=6,
)


def changed(content: bytes, changes: list[tuple[str, float, str, bytes]]) -> bytes:
    """The content after these `edits`."""
    bad = bytearray(content)
    for part, share, what, word in changes:
        span = len(bad) if part == "any" else min(len(bad), 2000)
        at = int(share * max(0, span - 1)) + (len(bad) - span if part == "end" else 0)
        if what == "flip" and bad:
            bad[at] ^= word[0] or 1
        elif what == "write":
            bad[at : at + len(word)] = word
        elif what == "insert":
            bad[at:at] = word
        elif what == "delete":
            del bad[at : at + 64 * len(word)]
        else:
            bad[at:at] = bad[at : at + 256 * len(word)]
    return bytes(bad)
