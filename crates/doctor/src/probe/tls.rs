//! TLS with a server of this machine.

#[cfg(feature = "tls")]
pub(super) use with::over;
#[cfg(not(feature = "tls"))]
pub(super) use without::over;

#[cfg(not(feature = "tls"))]
mod without {
    use std::io::{self, Read, Write};

    /// What was built without TLS cannot speak it.
    pub(in super::super) fn over<S: Read + Write>(_: S, _: &str) -> io::Result<S> {
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

    /// TLS over a connection, with the server of this name.
    pub(in super::super) fn over<S: Read + Write>(stream: S, name: &str) -> io::Result<impl Read + Write> {
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
