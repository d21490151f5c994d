//! `.._ssl_*`, as written.

use conf::Args;

use crate::http::variables::Template;
use crate::modules::settings;
use crate::modules::ssl::written::{Keep, Named, Protocols};

settings! {
    /// As written; each field is the directive of its name.
    #[allow(missing_docs)]
    pub struct SslWritten {
        verify: bool,
        verify_depth: usize,
        trusted_certificate: String,
        crl: String,
        certificate: Named,
        certificate_key: Named,
        certificate_cache: Keep,
        conf_command: Vec<(String, String)>,
        password_file: String,
        name: Template,
        server_name: bool,
        session_reuse: bool,
        protocols: Protocols,
        ciphers: String,
    }
}

/// A module's `.._ssl_*` directives: `$prefix` is what their names begin with, `$own` a structure around [`SslWritten`].
macro_rules! ssl_directives {
    ($prefix:literal, $own:ident) => {{
        use conf::{IN_HTTP, at_least, between, directive, exactly, flag};
        use $crate::http::relay::tls::written::file;
        use $crate::modules::ssl::written::{certificate, certificate_cache, command, pass_phrases};
        &[
            directive(concat!($prefix, "_ssl_verify"), IN_HTTP, flag(), |at, a| {
                at.own::<$own>().0.verify.set(a.flag(0)?)
            }),
            directive(concat!($prefix, "_ssl_server_name"), IN_HTTP, flag(), |at, a| {
                at.own::<$own>().0.server_name.set(a.flag(0)?)
            }),
            directive(concat!($prefix, "_ssl_session_reuse"), IN_HTTP, flag(), |at, a| {
                at.own::<$own>().0.session_reuse.set(a.flag(0)?)
            }),
            directive(concat!($prefix, "_ssl_verify_depth"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.verify_depth.set(a.number(0)?)
            }),
            directive(concat!($prefix, "_ssl_ciphers"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.ciphers.set(a.str(0).into())
            }),
            directive(concat!($prefix, "_ssl_protocols"), IN_HTTP, at_least(1), |at, a| {
                // Where all lists of a block name neither, both are spoken.
                let mut protocols = at.own::<$own>().0.protocols.written().copied().unwrap_or_default();
                protocols.add(at, a)?;
                at.own::<$own>().0.protocols.put(protocols);
                Ok(())
            }),
            directive(concat!($prefix, "_ssl_name"), IN_HTTP, exactly(1), |at, a| {
                let name = $crate::http::variables::Template::compile(at, a, 0)?;
                at.own::<$own>().0.name.set(name)
            }),
            directive(concat!($prefix, "_ssl_trusted_certificate"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.trusted_certificate.set(file(a))
            }),
            directive(concat!($prefix, "_ssl_crl"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.crl.set(file(a))
            }),
            directive(concat!($prefix, "_ssl_certificate"), IN_HTTP, exactly(1), |at, a| {
                let file = certificate(at, a)?;
                at.own::<$own>().0.certificate.set(file)
            }),
            directive(concat!($prefix, "_ssl_certificate_key"), IN_HTTP, exactly(1), |at, a| {
                let file = certificate(at, a)?;
                at.own::<$own>().0.certificate_key.set(file)
            }),
            directive(concat!($prefix, "_ssl_certificate_cache"), IN_HTTP, between(1, 3), |at, a| {
                at.own::<$own>().0.certificate_cache.set(certificate_cache(a)?)
            }),
            directive(concat!($prefix, "_ssl_conf_command"), IN_HTTP, exactly(2), |at, a| {
                let mut so_far = at.own::<$own>().0.conf_command.written().cloned().unwrap_or_default();
                so_far.push(command(a));
                at.own::<$own>().0.conf_command.put(so_far);
                Ok(())
            }),
            directive(concat!($prefix, "_ssl_password_file"), IN_HTTP, exactly(1), |at, a| {
                at.own::<$own>().0.password_file.set(pass_phrases(a)?.path)
            }),
        ]
    }};
}
pub(crate) use ssl_directives;

/// The path of a file.
pub(crate) fn file(a: &Args<'_>) -> String {
    match a.str(0) {
        "" => String::new(),
        name => a.conf_path(name),
    }
}
