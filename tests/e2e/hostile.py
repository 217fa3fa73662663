"""What hostile clients send, what comes back, and what the upstream sees of it."""

from dataclasses import dataclass
from enum import Enum

from metaproxy.demo.world import ALICE
from tests.e2e.deployment import RED_API

SERVERS = f"{RED_API}/servers".encode()
TOKEN = b"X-Auth-Token: " + ALICE.token.encode()
HOST = b"Host: compute.example"
CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: compute.example\r\n\r\n"


class Seen(Enum):
    """What the upstream sees of a request."""

    NOTHING = "nothing"
    BROKEN_OFF = "at most its head, never its end"
    REQUEST = "the request, once, rewritten"


@dataclass(frozen=True)
class Case:
    """Bytes that a client sends; the connection is closed after the answer, unless it ``stays_open``."""

    what: str
    sent: bytes
    status: int
    seen: Seen = Seen.NOTHING
    stays_open: bool = False

    def __str__(self) -> str:
        return self.what


def request(*fields: bytes, line: bytes = b"GET %b HTTP/1.1", host: bytes = HOST, body: bytes = b"") -> bytes:
    """A request of Alice's, otherwise in order."""
    lines = (line.replace(b"%b", SERVERS), *((host,) if host else ()), TOKEN, *fields)
    return b"\r\n".join((*lines, b"", b"")) + body


def post(*fields: bytes, body: bytes) -> bytes:
    return request(*fields, line=b"POST %b HTTP/1.1", body=body)


def chunks(body: bytes) -> bytes:
    return post(CHUNKED, body=body)


LENGTH = [
    Case("Content-Length and Transfer-Encoding", post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"), 400),
    Case("Transfer-Encoding and Content-Length", post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"), 400),
    Case("two equal Content-Length", post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), 400),
    Case("two different Content-Length", post(b"Content-Length: 3", b"Content-Length: 9", body=b"abc"), 400),
    Case("a list in Content-Length", post(b"Content-Length: 3, 3", body=b"abc"), 400),
    Case("a sign in Content-Length", post(b"Content-Length: +3", body=b"abc"), 400),
    Case("a negative Content-Length", post(b"Content-Length: -3", body=b"abc"), 400),
    Case("a hexadecimal Content-Length", post(b"Content-Length: 0x3", body=b"abc"), 400),
    Case("an empty Content-Length", post(b"Content-Length:", body=b"abc"), 400),
    Case("a Content-Length over 64 bits", post(b"Content-Length: 99999999999999999999", body=b"abc"), 400),
    Case("a Content-Length over the limit", post(b"Content-Length: 9999999999", body=b"abc"), 413),
    Case("Content_Length beside Content-Length",
         post(b"Content_Length: 9", b"Content-Length: 3", body=b"abc"), 200, Seen.REQUEST, stays_open=True),
]  # fmt: skip

CODINGS = [
    Case("gzip before chunked", post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    Case("gzip after chunked", post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), 400),
    Case("identity", post(b"Transfer-Encoding: identity", body=b""), 501),
    Case("a coding that is none", post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 501),
    Case("chunked with a parameter", post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), 501),
    Case("chunked twice", post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), 400),
    Case("a vertical tab before chunked", post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), 400),
    Case("an empty Transfer-Encoding", post(b"Transfer-Encoding:", body=b""), 400),
    Case("chunked from HTTP/1.0", request(CHUNKED, line=b"POST %b HTTP/1.0", body=b"0\r\n\r\n"), 400),
    Case("Transfer_Encoding", post(b"Transfer_Encoding: chunked", b"Content-Length: 3", body=b"abc"),
         200, Seen.REQUEST, stays_open=True),
]  # fmt: skip

BROKEN = Seen.BROKEN_OFF
CHUNKS = [
    Case("a chunk size that is no number", chunks(b"xyz\r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a negative chunk size", chunks(b"-3\r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("0x before a chunk size", chunks(b"0x3\r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a space before a chunk size", chunks(b" 3\r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a space after a chunk size", chunks(b"3 \r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("an empty chunk size", chunks(b"\r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a chunk size over 64 bits", chunks(b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a chunk size of 64 bits, and silence", chunks(b"FFFFFFFFFFFFFFFF\r\nabc"), 408, BROKEN),
    Case("a chunk longer than its size", chunks(b"3\r\nabcd\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a bare LF after a chunk size", chunks(b"3\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a bare LF in a chunk extension", chunks(b"3;a\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a control in a chunk extension", chunks(b"3;\x01\r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a chunk extension without a name", chunks(b"3;\r\nabc\r\n0\r\n\r\n"), 400, BROKEN),
    Case("a chunk extension", chunks(b'3;a="b;c"\r\nabc\r\n0\r\n\r\n'), 200, Seen.REQUEST, stays_open=True),
    Case("Content-Length in a trailer", chunks(b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"), 400, BROKEN),
    Case("X-Roles in a trailer", chunks(b"3\r\nabc\r\n0\r\nX-Roles: admin\r\n\r\n"),
         200, Seen.REQUEST, stays_open=True),
]  # fmt: skip

LINES = [
    Case("a folded field", request(b"X-A: 1", b" 2"), 400),
    Case("a folded Host", request(b" .example"), 400),
    Case("a space before the first field", request(host=b" Host: a"), 400),
    Case("bare LF at every end", request().replace(b"\r\n", b"\n"), 400),
    Case("a bare LF after a field", request().replace(b"example\r\n", b"example\n"), 400),
    Case("a bare LF at the end of the head", request()[:-2] + b"\n", 400),
    Case("a bare CR after a field", request().replace(b"example\r\n", b"example\r"), 400),
    Case("a bare CR in a value", request(b"X-A: b\rc"), 400),
    Case("NUL in a value", request(b"X-A: b\x00c"), 400),
    Case("NUL in a name", request(b"X\x00A: b"), 400),
    Case("a control in a value", request(b"X-A: b\x01c"), 400),
    Case("DEL in a value", request(b"X-A: b\x7f"), 400),
    Case("a space before the colon", request(b"X-A : b"), 400),
    Case("a tab before the colon", request(b"X-A\t: b"), 400),
    Case("a space in a name", request(b"X A: b"), 400),
    Case("a bracket in a name", request(b"X(A: b"), 400),
    Case("an empty name", request(b": b"), 400),
    Case("a field without a colon", request(b"X-A"), 400),
]

TARGETS = [
    Case("the authority is another than the Host", request(line=b"GET http://other.example%b HTTP/1.1"), 400),
    Case("the authority's port is another", request(line=b"GET http://compute.example:1%b HTTP/1.1"), 400),
    Case("user information in the authority",
         request(line=b"GET http://a@compute.example%b HTTP/1.1"), 400),
    Case("a scheme other than http", request(line=b"GET ftp://compute.example%b HTTP/1.1"), 400),
    Case("a file", request(line=b"GET file:///etc/passwd HTTP/1.1"), 400),
    Case("absolute form, as the Host says", request(line=b"GET http://Compute.Example%b HTTP/1.1"),
         200, Seen.REQUEST, stays_open=True),
    Case("a fragment", request(line=b"GET %b#top HTTP/1.1"), 400),
    Case("an asterisk", request(line=b"OPTIONS * HTTP/1.1"), 400),
    Case("no slash at the start", request(line=b"GET servers HTTP/1.1"), 400),
    Case("an at sign at the start", request(line=b"GET @other.example/ HTTP/1.1"), 400),
    Case("a control", request(line=b"GET %b\x01 HTTP/1.1"), 400),
    Case("NUL", request(line=b"GET %b\x00 HTTP/1.1"), 400),
    Case("an octet above 127", request(line=b"GET %b\xff HTTP/1.1"), 400),
    Case("an octet above 127 in the query", request(line=b"GET %b?\xff HTTP/1.1"), 400),
    Case("a target over 8 KiB", request(line=b"GET %b/" + b"a" * 9000 + b" HTTP/1.1"), 414),
    Case("CONNECT", request(line=b"CONNECT other.example:80 HTTP/1.1"), 501),
]  # fmt: skip

HOSTS = [
    Case("no Host", request(host=b""), 400),
    Case("two Host fields", request(HOST), 400),
    Case("two different Host fields", request(b"Host: other.example"), 400),
    Case("a list", request(host=b"Host: a.example, b.example"), 400),
    Case("a path", request(host=b"Host: a.example/b"), 400),
    Case("user information", request(host=b"Host: a@b.example"), 400),
    Case("an empty Host", request(host=b"Host:"), 400),
    Case("a port that is no number", request(host=b"Host: a.example:b"), 400),
    Case("an octet above 127", request(host=b"Host: \xff.example"), 400),
]

VERSIONS = [
    Case("HTTP/0.9 without a version", b"GET %b\r\n\r\n" % SERVERS, 505),
    Case("HTTP/0.9 by name", request(line=b"GET %b HTTP/0.9"), 505),
    Case("HTTP/2.0 by name", request(line=b"GET %b HTTP/2.0"), 505),
    Case("HTTP/1.2", request(line=b"GET %b HTTP/1.2"), 400),
    Case(
        "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 400
    ),
    Case("lower case http", request(line=b"GET %b http/1.1"), 400),
    Case("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    Case("words after the version", request(line=b"GET %b HTTP/1.1 x"), 400),
    Case("a tab between the words", request(line=b"GET\t%b\tHTTP/1.1"), 400),
    Case("HTTP/1.0", request(line=b"GET %b HTTP/1.0"), 200, Seen.REQUEST),
]

METHODS = [
    Case("a method nobody knows", request(line=b"BREW %b HTTP/1.1"), 400),
    Case("lower case", request(line=b"get %b HTTP/1.1"), 400),
    Case("odd characters", request(line=b"GE<T %b HTTP/1.1"), 400),
    Case("a space first", b" " + request(), 400),
    Case("TRACE", request(line=b"TRACE %b HTTP/1.1"), 501, stays_open=True),
    Case("PURGE", request(line=b"PURGE %b HTTP/1.1"), 501, stays_open=True),
    Case("M-SEARCH", request(line=b"M-SEARCH %b HTTP/1.1"), 501, stays_open=True),
]

PROTOCOLS = [
    Case("Upgrade: websocket", request(b"Connection: Upgrade", b"Upgrade: websocket", body=SMUGGLED), 501),
    Case("Upgrade: h2c", request(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
         b"HTTP2-Settings: AAMAAABk"), 200, Seen.REQUEST, stays_open=True),
    Case("Upgrade: h2c with a body", post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3",
         body=b"abc"), 200, Seen.REQUEST, stays_open=True),
    Case("Upgrade: h2c with chunks that are none", post(b"Connection: Upgrade", b"Upgrade: h2c", CHUNKED,
         body=b"xyz" + SMUGGLED), 400, BROKEN),
    Case("Upgrade: h2c, websocket", request(b"Connection: Upgrade", b"Upgrade: h2c, websocket",
         body=SMUGGLED), 501),
    Case("Upgrade that Connection does not name", request(b"Upgrade: h2c"),
         200, Seen.REQUEST, stays_open=True),
    Case("a request after Connection: close", request(b"Connection: close", body=SMUGGLED),
         200, Seen.REQUEST),
    Case("Expect: another", post(b"Expect: 200-ok", b"Content-Length: 3", body=b"abc"), 417, stays_open=True),
    Case("Expect twice", post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 3",
         body=b"abc"), 400, stays_open=True),
]  # fmt: skip

SIZES = [
    Case("101 fields", request(*(b"X-%d: a" % number for number in range(99))), 431, stays_open=True),
    Case("a field over 64 KiB", request(b"X-A: " + b"a" * 70_000), 431, stays_open=True),
    Case("a head over 64 KiB that never ends", request(b"X-A: " + b"a" * 100_000)[:-4], 431),
    Case("a name over 64 KiB", request(b"a" * 70_000 + b": a"), 431, stays_open=True),
]

SECTIONS = {
    "The length of the body": LENGTH,
    "Transfer codings": CODINGS,
    "Chunks": CHUNKS,
    "Lines and fields": LINES,
    "The target": TARGETS,
    "Host": HOSTS,
    "Versions": VERSIONS,
    "Methods": METHODS,
    "Other protocols, expectations": PROTOCOLS,
    "Sizes": SIZES,
}


def table() -> str:
    """The cases as Markdown."""
    lines = ["| sent | answer | connection | the upstream sees |", "|---|---|---|---|"]
    for section, cases in SECTIONS.items():
        lines.append(f"| **{section}** | | | |")
        for case in cases:
            connection = "stays" if case.stays_open else "closed"
            lines.append(f"| {case.what} | {case.status} | {connection} | {case.seen.value} |")
    return "\n".join(lines)
