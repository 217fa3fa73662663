"""TLS towards the upstream, with real certificates over real sockets."""

import ssl
from pathlib import Path

import pytest

from metaproxy.assembly.tls import client_context
from metaproxy.config.model.upstream import ClientTls
from metaproxy.forward.errors import TLSFailed
from tests.unit.forward.certificates import Authority, Issued
from tests.unit.forward.conftest import MakeTransport
from tests.unit.forward.scripted import OK, Peer, answers, read, request, upstream


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def compute_certificate(authority: Authority) -> Issued:
    return authority.issue("compute")


def client_tls(**section: object) -> ssl.SSLContext:
    return client_context(ClientTls.model_validate(section), "upstream")


def server_tls(issued: Issued, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_certificate_of_a_trusted_authority(
    make_transport: MakeTransport, authority: Authority, compute_certificate: Issued
) -> None:
    transport = make_transport(ssl_context=client_tls(ca=authority.ca))
    async with upstream(answers(OK), ssl=server_tls(compute_certificate)) as compute:
        for _ in range(2):
            assert await read(await transport.handle_async_request(request(compute.url))) == b"ok"

        assert len(compute.peers) == 1


async def test_a_certificate_that_the_system_does_not_trust(
    make_transport: MakeTransport, compute_certificate: Issued
) -> None:
    async with upstream(answers(OK), ssl=server_tls(compute_certificate)) as compute:
        with pytest.raises(TLSFailed):
            await make_transport().handle_async_request(request(compute.url))


async def test_a_certificate_for_another_name(make_transport: MakeTransport, authority: Authority) -> None:
    elsewhere = authority.issue("elsewhere", "DNS:elsewhere.example")
    transport = make_transport(ssl_context=client_tls(ca=authority.ca))
    async with upstream(answers(OK), ssl=server_tls(elsewhere)) as compute:
        with pytest.raises(TLSFailed):
            await transport.handle_async_request(request(compute.url))


async def test_any_certificate_where_verification_is_off(
    make_transport: MakeTransport, compute_certificate: Issued
) -> None:
    transport = make_transport(ssl_context=client_tls(verify=False))
    async with upstream(answers(OK), ssl=server_tls(compute_certificate)) as compute:
        assert await read(await transport.handle_async_request(request(compute.url))) == b"ok"


async def test_our_own_certificate_is_shown(
    make_transport: MakeTransport, authority: Authority, compute_certificate: Issued
) -> None:
    ours = authority.issue("metaproxy")
    tls = client_tls(ca=authority.ca, certificate=ours.certificate, key=ours.key)
    transport = make_transport(ssl_context=tls)
    async with upstream(answers(OK), ssl=server_tls(compute_certificate, authority.ca)) as compute:
        assert await read(await transport.handle_async_request(request(compute.url))) == b"ok"


async def test_an_upstream_that_speaks_no_tls(make_transport: MakeTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await peer.closed()

    async with upstream(script) as compute:
        with pytest.raises(TLSFailed):
            await make_transport().handle_async_request(request(compute.url.copy_with(scheme="https")))
