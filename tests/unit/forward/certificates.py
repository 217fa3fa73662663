"""A certificate authority for tests, made with the openssl command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates for servers and clients; its own is ``ca``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self.ca = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl("req", "-x509", *_CURVE, "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.ca)

    def issue(self, name: str, address: str = "IP:127.0.0.1") -> Issued:
        """Return a certificate called ``name`` for ``address``."""
        issued = Issued(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        _openssl(
            "req", "-x509", *_CURVE, "-subj", f"/CN={name}", "-CA", self.ca, "-CAkey", self._key,
            "-addext", f"subjectAltName={address}", "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", issued.key, "-out", issued.certificate,
        )  # fmt: skip
        return issued

    def issue_expired(self, name: str) -> Issued:
        """Return a certificate called ``name`` that ended yesterday."""
        issued = Issued(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1")
        _openssl("req", "-new", *_CURVE[:-2], "-subj", f"/CN={name}", "-keyout", issued.key, "-out", request)
        _openssl(
            "x509", "-req", "-days", "-1", "-in", request, "-extfile", extensions,
            "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-out", issued.certificate,
        )  # fmt: skip
        return issued

    def encrypt(self, issued: Issued, password: str = "swordfish") -> None:
        """Put the key of ``issued`` under a password."""
        plain = issued.key.rename(issued.key.with_suffix(".plain"))
        _openssl("pkey", "-in", plain, "-aes256", "-passout", f"pass:{password}", "-out", issued.key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
