//! TLS with a server of this machine.

#[cfg(feature = "tls")]
pub use with::{Tls, over};
#[cfg(not(feature = "tls"))]
pub use without::{Tls, over};

#[cfg(not(feature = "tls"))]
mod without {
    use std::io::{self, Read, Write};

    /// Nobody makes one.
    pub type Tls<S> = S;

    /// What was built without TLS cannot speak it.
    ///
    /// # Errors
    /// Always.
    pub fn over<S: Read + Write>(_: S, _: &str) -> io::Result<Tls<S>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(feature = "tls")]
mod with {
    use std::io::{self, Read, Write};
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, aws_lc_rs};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

    /// TLS over a connection.
    pub type Tls<S> = StreamOwned<ClientConnection, S>;

    /// TLS over a connection, with the server of this name, whoever signed its certificate.
    ///
    /// # Errors
    /// A name that is none. What the server refuses is known with the first byte.
    pub fn over<S: Read + Write>(stream: S, name: &str) -> io::Result<Tls<S>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(any_certificate()?, name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }

    fn any_certificate() -> io::Result<Arc<ClientConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let verifier = Arc::new(AnyCertificate(provider));
        Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
    }

    /// The server is found by its address on this machine, and nothing secret is said: who signed for it does not matter.
    #[derive(Debug)]
    struct AnyCertificate(Arc<CryptoProvider>);

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
