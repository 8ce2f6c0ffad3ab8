//! TLS towards receivers of callbacks and towards platforms, with the certificate authorities that this machine trusts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, SignatureScheme,
};

/// See the module. The authorities are read when they are first needed; `SSL_CERT_FILE` names others than the system's.
#[derive(Default)]
pub(crate) struct Tls {
    trust: Trust,
    connector: OnceCell<TlsConnector>,
}

/// Whom to trust, and who we are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Accept every certificate: the connection is confidential, but with whom is not known.
    pub(crate) everybody: bool,
    /// The files of our own certificate and its key, in PEM.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, connector: OnceCell::new() }
    }

    /// Makes a connection to a host confidential, and checks that it is the host.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = self.connector.get_or_try_init(|| connector(self.trust.clone())).await?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        connector.connect(name, stream).await
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tls")
    }
}

async fn connector(trust: Trust) -> io::Result<TlsConnector> {
    let config = tokio::task::spawn_blocking(move || config(&trust)).await.map_err(io::Error::other)??;
    Ok(TlsConnector::from(Arc::new(config)))
}

fn config(trust: &Trust) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match trust.everybody {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Everybody(provider))),
        false => builder.with_root_certificates(roots()?),
    };
    let Some((certificate, key)) = &trust.identity else { return Ok(builder.with_no_client_auth()) };
    let unreadable = |path: &Path, error: pem::Error| {
        io::Error::other(format!("{} cannot be read: {error}", path.display()))
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(|chain| chain.collect());
    let chain = chain.map_err(|error| unreadable(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    builder.with_client_auth_cert(chain, key).map_err(io::Error::other)
}

fn roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 || !found.errors.is_empty() {
        tracing::warn!(ignored, errors = ?found.errors, "some certificate authorities of this machine cannot be read");
    }
    match roots.is_empty() {
        true => Err(io::Error::other("this machine trusts no certificate authority")),
        false => Ok(roots),
    }
}

/// Believes every certificate, because the user said so; that its owner holds its key is checked all the same.
#[derive(Debug)]
struct Everybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
