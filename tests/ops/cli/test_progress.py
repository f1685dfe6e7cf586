"""Tests of progress.py: what a command's output says about how far it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cli.progress import LINE_BYTES, LineReader, OutputLine, Progress, read_progress


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        ("42%", 0.42),
        ("Loading 42.5 % of it", 0.425),
        ("Loading: 7%…", 0.07),
        ("100% done", 1.0),
        ("  1,234,567  42%   12.3MB/s    0:00:04 (xfr#5, to-chk=0/10)", 0.42),
        ("step 3/10", 0.3),
        ("Step 3 / 10: compile", 0.3),
        ("Epoch 2 of 4", 0.5),
        ("[3/4] Building CXX object", 0.75),
        ("frame 500/1000", 0.5),
    ],
)
def test_what_tells_of_progress_is_understood(text: str, progress: float) -> None:
    found = read_progress(text)

    assert found is not None and found.progress == pytest.approx(progress)


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "150%", "-5%", "v1.2.3%", "%d items", "50%%", "step 11/10", "step 0/0", "on 3/10 we met", "a5%",
     "step 1/2/2026", "version step 1/2.5"],
)  # fmt: skip
def test_what_does_not_is_left_alone(text: str) -> None:
    assert read_progress(text) is None


def test_a_bar_is_read_with_its_counts_its_rate_and_what_is_left() -> None:
    assert read_progress("train: 42%|████▏     | 42/100 [00:03<00:04, 12.30it/s, loss=0.1]") == Progress(
        0.42, "train", 42, 100, 12.3, 4.0
    )
    slow = read_progress(" 1%|          | 3/250 [00:06<1:08:14,  2.00s/it]")
    assert slow == Progress(0.012, None, 3, 250, 0.5, 4094.0)
    assert read_progress("  0%|          | 0/10 [00:00<?, ?it/s]") == Progress(0.0, None, 0, 10, None, None)
    large = read_progress("50%|█████     | 1.20M/2.40M [00:03<2 days, 0:00:03, 1.5kB/s]")
    assert large == Progress(0.5, None, 1_200_000, 2_400_000, 1500.0, 172803.0)


def test_a_partial_count_is_not_believed_yet() -> None:
    assert read_progress("step 1/1", partial=True) is None
    assert read_progress("42%", partial=True) == Progress(0.42, "42%")


@given(st.text())
def test_no_text_yields_progress_outside_of_0_to_1(text: str) -> None:
    found = read_progress(text)

    assert found is None or 0 <= found.progress <= 1


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.text("abc :", max_size=10))
def test_every_bar_that_tqdm_could_draw_is_read(current: int, total: int, said: str) -> None:
    current = min(current, total)
    text = f"{said}{current * 100 // total:3d}%|###   | {current}/{total} [00:01<00:02, 3.00it/s]"

    found = read_progress(text)

    assert found is not None
    assert (found.progress, found.current, found.total) == (current / total, current, total)


def fed(*chunks: bytes) -> tuple[list[str], list[float]]:
    lines, seen = LineReader(), []
    texts: list[str] = []
    for out, progress in [*map(lines.feed, chunks), lines.end()]:
        texts += [line.text for line in out]
        if progress:
            seen.append(progress.progress)
    return texts, seen


def test_lines_are_cut_out_of_what_comes() -> None:
    assert fed(b"one\ntw", b"o\r\n\nthree") == (["one", "two", "", "three"], [])


def test_a_bar_that_redraws_itself_is_progress_and_one_line() -> None:
    texts, seen = fed(b"\r 0%|", b"\r10%|#", b"\r20%|##\r30%|###", b"\r100%|####|\n", b"done\n")

    assert texts == ["100%|####|", "done"]
    assert seen == [0.0, 0.1, 0.3, 1.0]


def test_a_carriage_return_at_the_end_of_each_redraw_works_as_well() -> None:
    texts, seen = fed(b"10%\r", b"20%\r", b"30%\r\n")

    assert texts == ["30%"] and seen == [0.1, 0.2, 0.3]


def test_colours_are_taken_off_and_broken_utf8_is_replaced() -> None:
    assert fed(b"\x1b[32mgr\xc3\xbcn\x1b[0m \xff\n") == (["grün �"], [])


def test_a_long_line_is_cut_between_characters_and_says_so() -> None:
    lines = LineReader()
    raw = b"x" + "ü".encode() * 5000

    out = lines.feed(raw[:4000])[0] + lines.feed(raw[4000:] + b"\nnext\n")[0]

    assert out == [OutputLine("x" + "ü" * ((LINE_BYTES - 1) // 2), len(raw) - LINE_BYTES), OutputLine("next", 0)]


@given(st.lists(st.binary(max_size=20)))
def test_however_the_bytes_are_split_the_lines_are_the_same(chunks: list[bytes]) -> None:
    assert fed(*chunks)[0] == fed(b"".join(chunks))[0]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\x1b", exclude_categories=["Cs"]))))
def test_every_line_comes_out_as_it_went_in(texts: list[str]) -> None:
    assert fed("".join(f"{text}\n" for text in texts).encode())[0] == texts
