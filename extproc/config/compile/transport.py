"""How bytes reach a provider: TLS, HTTP/1.1 or HTTP/2, and a proxy on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.config.compile import wire
from extproc.config.compile.layout import Layout
from extproc.config.compile.tunnel import tunneled
from extproc.config.endpoint import Endpoint
from extproc.config.providers import ProviderConfig
from extproc.config.values import CertificatePair

_OneProtocol = upstream.HttpProtocolOptionsExplicitHttpConfig
_AsAgreed = upstream.HttpProtocolOptionsAutoHttpConfig


def socket(provider: ProviderConfig, layout: Layout) -> core.TransportSocket | None:
    """Compile the transport socket of the provider's cluster; None: plain text."""
    there = provider.endpoint
    if not there.tls:
        return None
    own = provider.client_certificate
    secure = tls_socket(
        there,
        provider.ca_file or layout.ca_bundle,
        alpn=_alpn(provider),
        certificates=() if own is None else (_certificate(own),),
    )
    return secure if provider.proxy is None else tunneled(secure)


def one_protocol(provider: ProviderConfig) -> _OneProtocol | None:
    """Compile the HTTP version that is spoken; None: as agreed in the handshake."""
    if provider.http2 == "auto":
        return None
    if provider.http2:
        return _OneProtocol(http2_protocol_options=core.Http2ProtocolOptions())
    return _OneProtocol(http_protocol_options=core.Http1ProtocolOptions())


def as_agreed(provider: ProviderConfig) -> _AsAgreed | None:
    """Compile the HTTP versions to choose from; None: there is no choice."""
    if provider.http2 != "auto":
        return None
    return _AsAgreed(
        http_protocol_options=core.Http1ProtocolOptions(),
        http2_protocol_options=core.Http2ProtocolOptions(),
    )


def _alpn(provider: ProviderConfig) -> list[str]:
    if provider.http2 == "auto":
        return ["h2", "http/1.1"]
    return ["h2"] if provider.http2 else ["http/1.1"]


def tls_socket(
    there: Endpoint,
    authorities: Path,
    *,
    alpn: Sequence[str] = ("http/1.1",),
    certificates: Sequence[tls.TlsCertificate] = (),
) -> core.TransportSocket:
    """Compile TLS that accepts this host's certificate and no other."""
    kind = tls.SubjectAltNameMatcherSanType
    context = tls.UpstreamTlsContext(
        # RFC 6066: a literal address is not a server name.
        sni="" if there.is_ip else there.host,
        common_tls_context=tls.CommonTlsContext(
            tls_params=tls.TlsParameters(
                tls_minimum_protocol_version=tls.TlsParametersTlsProtocol.TLSv1_2
            ),
            alpn_protocols=list(alpn),
            tls_certificates=list(certificates),
            validation_context=tls.CertificateValidationContext(
                trusted_ca=core.DataSource(filename=str(authorities)),
                match_typed_subject_alt_names=[
                    tls.SubjectAltNameMatcher(
                        san_type=kind.IP_ADDRESS if there.is_ip else kind.DNS,
                        matcher=matcher.StringMatcher(exact=there.host),
                    )
                ],
            ),
        ),
    )
    return core.TransportSocket(
        name="envoy.transport_sockets.tls", typed_config=wire.pack(context)
    )


def _certificate(files: CertificatePair) -> tls.TlsCertificate:
    return tls.TlsCertificate(
        certificate_chain=core.DataSource(filename=str(files.certificate)),
        private_key=core.DataSource(filename=str(files.key)),
        watched_directory=core.WatchedDirectory(path=str(files.certificate.parent)),
    )
