//! TLS between daemons.
//!
//! Owns how this host shows who it is on a connection, and whom it believes there: TLS 1.3 and nothing older, the chain looked at by
//! `muster-identity` by this daemon's own clock, and each connection with a handshake of its own, since one that is resumed would not be
//! looked at again. The certificate that is shown is the newest there is, without a restart. That a host belongs to the cluster
//! is not decided here: its record says so.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use muster_client::{ByteStream, Connect, Connecting, Route, SocketConnector};
use muster_common::machine::MachineId;
use muster_common::pki::{HostRole, KeyHash};
use muster_identity::{
    ChainError, HostCertificate, HostCredentials, PeerSide, TrustBundle, verify_host_chain,
    verify_pinned_chain, verify_returning_host,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError,
    PeerIncompatible, ServerConfig, SignatureScheme, version,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::stdx::clock::Wall;

/// The time that a handshake may take: milliseconds of work, and a network's round trips. Whoever takes longer holds a place for
/// nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The name that is asked for in a handshake and never sent: hosts are known by their certificates.
const NO_NAME: &str = "muster";

/// The identity that this host shows. Cheap to clone; clones show the same.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    shown: Arc<RwLock<Arc<ShownIdentity>>>,
    wall: Wall,
}

/// The identity as it is shown at one time.
#[derive(Debug)]
struct ShownIdentity {
    key: Arc<CertifiedKey>,
    bundle: TrustBundle,
}

/// TLS cannot be used with this identity.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be used with this host's key and certificate")]
pub struct TlsError(#[from] rustls::Error);

/// The host at the other end of a connection, by the certificate that it has shown and proven to have the key of; `None`: it has shown
/// none. The handlers of requests find it among a request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPeer(pub Option<HostCertificate>);

impl TlsIdentity {
    /// Shows these credentials.
    pub fn new(credentials: &HostCredentials, wall: Wall) -> Result<Self, TlsError> {
        let shown = Arc::new(ShownIdentity::new(credentials)?);
        Ok(Self { shown: Arc::new(RwLock::new(shown)), wall })
    }

    /// Shows others from now on; connections that are there stay.
    pub fn replace_credentials(&self, credentials: &HostCredentials) -> Result<(), TlsError> {
        let shown = Arc::new(ShownIdentity::new(credentials)?);
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    /// The side of a server. A client may show who it is, and need not: one that is about to join cannot.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let look = HostLook { identity: self.clone(), expected: ExpectedPeer::Client };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::new(look))
            .with_cert_resolver(Arc::new(self.clone()));
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    /// The way to another host, which has to show that it is this machine.
    pub fn connector_to(&self, machine: MachineId) -> Result<SecureConnector, TlsError> {
        self.connector_with(ExpectedPeer::Machine(machine))
    }

    /// The way to a host that has to show that it is a server, whichever.
    pub fn connector_to_server(&self) -> Result<SecureConnector, TlsError> {
        self.connector_with(ExpectedPeer::Server)
    }

    fn connector_with(&self, expected: ExpectedPeer) -> Result<SecureConnector, TlsError> {
        let look = HostLook { identity: self.clone(), expected };
        let config = client_builder(look)?.with_client_cert_resolver(Arc::new(self.clone()));
        Ok(SecureConnector::new(config))
    }

    fn current(&self) -> Arc<ShownIdentity> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ShownIdentity {
    fn new(credentials: &HostCredentials) -> Result<Self, TlsError> {
        let chain = credentials.shown_chain().to_vec();
        let key =
            CertifiedKey::from_der(chain, credentials.key().to_der(), &ring::default_provider())?;
        Ok(Self { key: Arc::new(key), bundle: credentials.trust_bundle().clone() })
    }
}

impl ResolvesServerCert for TlsIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().key))
    }
}

impl ResolvesClientCert for TlsIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Makes connections over TLS.
#[derive(Debug, Clone)]
pub struct SecureConnector {
    config: Arc<ClientConfig>,
}

impl SecureConnector {
    /// The way of a host that joins: it shows nothing, and believes whoever shows the authority with this pin to be a server.
    pub fn pinned_to(pin: KeyHash, wall: Wall) -> Result<Self, TlsError> {
        Ok(Self::new(client_builder(PinLook { pin, wall })?.with_no_client_auth()))
    }

    fn new(mut config: ClientConfig) -> Self {
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config) }
    }
}

impl Connect for SecureConnector {
    fn connect<'a>(&'a self, route: &'a Route) -> Connecting<'a> {
        Box::pin(async move {
            let stream = SocketConnector.connect(route).await?;
            let name = ServerName::try_from(NO_NAME).map_err(io::Error::other)?;
            let secured = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await;
            let stream: Box<dyn ByteStream> = Box::new(secured.map_err(unwrap_chain_error)?);
            Ok(stream)
        })
    }
}

/// The reason why a chain was not believed in the place of what TLS makes of it.
fn unwrap_chain_error(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) =
        cause
        && let Some(chain) = other.downcast_ref::<ChainError>()
    {
        return io::Error::other(chain.clone());
    }
    error
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client_builder(look: impl ServerCertVerifier + 'static) -> Result<Builder, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(look)))
}

/// Lets a client in over TLS: the stream, and whom it has shown to be.
pub(super) async fn accept_client<S>(
    config: Arc<ServerConfig>,
    stream: S,
) -> io::Result<(TlsStream<S>, TlsPeer)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = TlsAcceptor::from(config).accept(stream);
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await;
    let stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    // It was read before, when it was looked at.
    let peer = shown.map(HostCertificate::from_der).transpose().map_err(io::Error::other)?;
    Ok((stream, TlsPeer(peer)))
}

/// Who has to be at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ExpectedPeer {
    /// Any host of the cluster that connects, be its certificate over or not.
    Client,
    /// This machine.
    Machine(MachineId),
    /// Any server: what it says of authorities is believed.
    Server,
}

/// The look at a host of the cluster, on either side.
#[derive(Debug)]
struct HostLook {
    identity: TlsIdentity,
    expected: ExpectedPeer,
}

/// The look of a host that joins at a server.
#[derive(Debug)]
struct PinLook {
    pin: KeyHash,
    wall: Wall,
}

impl HostLook {
    fn check(
        &self,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        let (chain, now) = (whole_chain(first, rest), self.identity.wall.unix_seconds());
        let shown = self.identity.current();
        let found = if self.expected == ExpectedPeer::Client {
            verify_returning_host(&chain, &shown.bundle, now)
        } else {
            verify_host_chain(&chain, &shown.bundle, PeerSide::Server, now)
        };
        let found = found.map_err(refuse_chain)?;
        let machine = found.name.machine().clone();
        match &self.expected {
            ExpectedPeer::Machine(expected) if *expected != machine => {
                let expected = expected.clone();
                Err(refuse_chain(ChainError::AnotherMachine { found: machine, expected }))
            }
            ExpectedPeer::Server if found.role != HostRole::Server => {
                Err(refuse_chain(ChainError::NotAServer { machine }))
            }
            _ => Ok(()),
        }
    }
}

fn whole_chain(
    first: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
) -> Vec<CertificateDer<'static>> {
    std::iter::once(first).chain(rest).map(|der| der.clone().into_owned()).collect()
}

fn refuse_chain(error: ChainError) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

fn check_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let algorithms = ring::default_provider().signature_verification_algorithms;
    verify_tls13_signature(message, certificate, signed, &algorithms)
}

/// What older versions sign is not looked at, since no such version is spoken.
fn refuse_older_version() -> rustls::Error {
    PeerIncompatible::Tls12NotOfferedOrEnabled.into()
}

fn known_schemes() -> Vec<SignatureScheme> {
    let provider: CryptoProvider = ring::default_provider();
    provider.signature_verification_algorithms.supported_schemes()
}

impl ServerCertVerifier for HostLook {
    fn verify_server_cert(
        &self,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(first, rest).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refuse_older_version())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        known_schemes()
    }
}

impl ServerCertVerifier for PinLook {
    fn verify_server_cert(
        &self,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = whole_chain(first, rest);
        verify_pinned_chain(&chain, self.pin, self.wall.unix_seconds())
            .map(|_| ServerCertVerified::assertion())
            .map_err(refuse_chain)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refuse_older_version())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        known_schemes()
    }
}

impl ClientCertVerifier for HostLook {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(first, rest).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refuse_older_version())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        known_schemes()
    }
}
