"""Calls on the wire: what is read, and what is refused because another reader could find something else in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp_server.gateway.argocd.frames import Frames, frame, framed_trailer, header_text, only_message, status_of
from k8s_mcp_server.gateway.argocd.messages import Message, shape
from k8s_mcp_server.gateway.argocd.objects import is_name, read_application, read_project, scoped
from k8s_mcp_server.gateway.protobuf import Unreadable, bytes_field, number_field, text_field

pytestmark = pytest.mark.unit

SHAPE = shape(texts={1, 3}, numbers={2}, repeated={3})


class TestMessages:
    """Requests."""

    def test_known_fields_are_read(self) -> None:
        message = Message(text_field(1, "web") + number_field(2, 1) + text_field(3, "a") + text_field(3, "b"), SHAPE)
        assert (message.text(1), message.is_true(2), message.texts(3)) == ("web", True, ("a", "b"))
        assert (message.has(1), message.has(9), message.text(9)) == (True, False, "")

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(text_field(1, "a") + text_field(1, "b"), id="a single field twice"),
            pytest.param(text_field(4, "a"), id="an unknown field"),
            pytest.param(number_field(1, 1), id="a number for a text"),
            pytest.param(text_field(2, "a"), id="a text for a number"),
            pytest.param(b"\x0d\x00\x00\x00\x00", id="a fixed number"),
            pytest.param(b"\x0b\x0c", id="a group"),
            pytest.param(b"\x0a\x05abc", id="a text that is cut short"),
        ],
    )
    def test_others_are_refused(self, data: bytes) -> None:
        with pytest.raises(Unreadable):
            Message(data, SHAPE)

    def test_a_text_is_utf8(self) -> None:
        message = Message(bytes_field(1, b"\xff"), SHAPE)
        with pytest.raises(Unreadable):
            message.text(1)

    def test_repeated_numbers_may_be_packed(self) -> None:
        assert Message(bytes_field(5, b"\x01\x02"), shape(numbers={5}, repeated={5})).has(5)

    def test_it_is_encoded_with_fields_exchanged(self) -> None:
        message = Message(text_field(1, "a") + number_field(2, 1), SHAPE)
        assert message.encode(without={1}, added=text_field(1, "b")) == number_field(2, 1) + text_field(1, "b")


class TestFrames:
    """Bodies."""

    @given(message=st.binary(max_size=200))
    def test_what_is_framed_is_read(self, message: bytes) -> None:
        assert only_message(frame(message)) == message

    @given(parts=st.lists(st.binary(max_size=50), max_size=8), cut=st.integers(1, 7))
    def test_an_answer_is_taken_apart_however_it_arrives(self, parts: list[bytes], cut: int) -> None:
        body = b"".join(map(frame, parts)) + framed_trailer(b"grpc-status: 0\r\n")
        frames, found = Frames(longest=100), []
        for start in range(0, len(body), cut):
            found += list(frames.feed(body[start : start + cut]))
        frames.finish()
        assert found == [*((False, part) for part in parts), (True, b"grpc-status: 0\r\n")]

    def test_an_answer_that_ends_early_is_noticed(self) -> None:
        frames = Frames(longest=100)
        assert list(frames.feed(frame(b"abc")[:-1])) == []
        with pytest.raises(Unreadable):
            frames.finish()

    @pytest.mark.parametrize("body", [b"\x01\x00\x00\x00\x00", frame(b"x" * 101)], ids=["compressed", "too long"])
    def test_an_answer_that_cannot_be_read_is_noticed(self, body: bytes) -> None:
        with pytest.raises(Unreadable):
            list(Frames(longest=100).feed(body))

    def test_a_message_for_people_is_one_line_of_bounded_ascii(self) -> None:
        assert header_text("a\r\nb: c\x00\u202e\u00e9") == "a b: c???"
        assert len(header_text("x" * 10_000)) == 1500

    @pytest.mark.parametrize(("text", "code"), [("7", 7), ("", 2), ("x", 2), ("-1", 2), ("\u0667", 2), ("999", 2)])
    def test_a_status_that_is_none_is_unknown(self, text: str, code: int) -> None:
        assert status_of(text) == code


class TestObjects:
    """Who an object is."""

    @pytest.mark.parametrize("name", ["web", "web-0", "a.b-c.d", "0", "x" * 253])
    def test_names(self, name: str) -> None:
        assert is_name(name)

    @pytest.mark.parametrize(
        "name",
        ["", "Web", "a/b", "a b", "a_b", "-a", "a-", "a..b", "a\n", "*", "a*", "team-a/web", "x" * 254, "\u0430"],
    )
    def test_no_names(self, name: str) -> None:
        assert not is_name(name)

    def test_an_application(self) -> None:
        source = text_field(4, "main")
        spec = bytes_field(1, source) + text_field(3, "team-a")
        found = read_application(bytes_field(1, text_field(1, "web") + text_field(3, "argocd")) + bytes_field(2, spec))
        assert (found.name, found.namespace, found.project, found.revision) == ("web", "argocd", "team-a", "main")

    def test_one_without_a_project_is_in_default(self) -> None:
        assert read_application(bytes_field(1, text_field(1, "web"))).project == "default"

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(bytes_field(1, text_field(1, "a/b")), id="a name with a slash"),
            pytest.param(bytes_field(1, text_field(1, "a") + text_field(1, "b")), id="two names"),
            pytest.param(bytes_field(1, text_field(1, "a")) * 2, id="metadata twice"),
            pytest.param(bytes_field(1, text_field(1, "a")) + bytes_field(2, b"") * 2, id="spec twice"),
            pytest.param(
                bytes_field(1, text_field(1, "a")) + bytes_field(2, text_field(3, "team-a/x")),
                id="a project with a slash",
            ),
            pytest.param(bytes_field(1, text_field(1, "a") + text_field(3, "A")), id="a namespace that is none"),
            pytest.param(bytes_field(1, number_field(1, 1)), id="a name that is a number"),
        ],
    )
    def test_one_that_leaves_open_who_it_is(self, data: bytes) -> None:
        with pytest.raises(Unreadable):
            read_application(data)

    def test_a_project_has_a_name(self) -> None:
        assert read_project(bytes_field(1, text_field(1, "team-a"))) == "team-a"
        with pytest.raises(Unreadable):
            read_project(bytes_field(1, text_field(1, "Team A")))

    def test_a_repository_is_called_by_its_project_and_address(self) -> None:
        read = scoped(1, 20)
        assert read(text_field(1, "https://x/y")) == "https://x/y"
        assert read(text_field(1, "https://x/y") + text_field(20, "team-a")) == "team-a/https://x/y"
        with pytest.raises(Unreadable):
            read(text_field(20, "team-a"))
