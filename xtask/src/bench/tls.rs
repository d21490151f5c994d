//! A certificate for the cases over TLS, made once by openssl.

use std::process::Command;
use std::sync::LazyLock;

use testkit::Site;

/// Directives of a server that speaks TLS, the same for both programs whatever their defaults.
pub const SETTINGS: &str = "ssl_certificate tls.crt; ssl_certificate_key tls.key; ssl_protocols TLSv1.2 TLSv1.3; \
    ssl_session_cache shared:SSL:10m; ssl_session_tickets on;";

/// Certificate and key in one PEM text, or why there is none.
static PAIR: LazyLock<Result<String, String>> = LazyLock::new(|| {
    let arguments = "req -x509 -nodes -days 3650 -subj /CN=localhost -newkey ec -pkeyopt \
        ec_paramgen_curve:prime256v1 -keyout - -out -";
    let output = Command::new("openssl").args(arguments.split_whitespace()).output();
    let output = output.map_err(|e| format!("openssl: {e}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
});

/// Why the cases over TLS cannot be run, if they cannot.
pub fn missing() -> Option<&'static str> {
    PAIR.as_ref().err().map(String::as_str)
}

/// The site with the files that [`SETTINGS`] names.
pub fn with_certificate(site: Site) -> Site {
    let pair = PAIR.as_deref().unwrap_or_default();
    site.file("tls.crt", pair).file("tls.key", pair)
}
