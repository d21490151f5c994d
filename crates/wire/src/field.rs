//! Header names the server has a use for, recognised by length and first letter, then by bytes.

/// A header this server acts on. Anything else is [`Known::Other`] and only passed along.
#[allow(missing_docs, reason = "each variant is the header of that name")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Known {
    #[default]
    Other,
    Host,
    Connection,
    ProxyConnection,
    KeepAlive,
    ContentLength,
    TransferEncoding,
    ContentType,
    ContentEncoding,
    ContentRange,
    ContentLanguage,
    ContentDisposition,
    UserAgent,
    Referer,
    Range,
    IfRange,
    IfModifiedSince,
    IfUnmodifiedSince,
    IfMatch,
    IfNoneMatch,
    Accept,
    AcceptEncoding,
    AcceptLanguage,
    AcceptRanges,
    Expect,
    Upgrade,
    Te,
    Trailer,
    Cookie,
    Authorization,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
    Via,
    Depth,
    Destination,
    Overwrite,
    Date,
    Server,
    Status,
    Location,
    Refresh,
    SetCookie,
    LastModified,
    ETag,
    Expires,
    CacheControl,
    Pragma,
    Vary,
    Age,
    Link,
    WwwAuthenticate,
    ProxyAuthenticate,
    ProxyAuthorization,
    XPad,
    XAccelExpires,
    XAccelRedirect,
    XAccelLimitRate,
    XAccelBuffering,
    XAccelCharset,
}

impl Known {
    /// The header called `name`, in any case of letters.
    #[inline]
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        match (name.len(), first | 0x20) {
            (2, b't') => pick(name, b"te", Self::Te),
            (3, b'v') => pick(name, b"via", Self::Via),
            (3, b'a') => pick(name, b"age", Self::Age),
            (4, b'h') => pick(name, b"host", Self::Host),
            (4, b'd') => pick(name, b"date", Self::Date),
            (4, b'e') => pick(name, b"etag", Self::ETag),
            (4, b'v') => pick(name, b"vary", Self::Vary),
            (4, b'l') => pick(name, b"link", Self::Link),
            (5, b'r') => pick(name, b"range", Self::Range),
            (5, b'd') => pick(name, b"depth", Self::Depth),
            (5, b'x') => pick(name, b"x-pad", Self::XPad),
            (6, b'c') => pick(name, b"cookie", Self::Cookie),
            (6, b'a') => pick(name, b"accept", Self::Accept),
            (6, b'e') => pick(name, b"expect", Self::Expect),
            (6, b's') => pick(name, b"server", Self::Server).or(name, b"status", Self::Status),
            (6, b'p') => pick(name, b"pragma", Self::Pragma),
            (7, b'r') => pick(name, b"referer", Self::Referer).or(name, b"refresh", Self::Refresh),
            (7, b'u') => pick(name, b"upgrade", Self::Upgrade),
            (7, b'e') => pick(name, b"expires", Self::Expires),
            (7, b't') => pick(name, b"trailer", Self::Trailer),
            (8, b'i') => pick(name, b"if-range", Self::IfRange).or(name, b"if-match", Self::IfMatch),
            (8, b'l') => pick(name, b"location", Self::Location),
            (9, b'x') => pick(name, b"x-real-ip", Self::XRealIp),
            (9, b'o') => pick(name, b"overwrite", Self::Overwrite),
            _ => Self::long(name, first | 0x20),
        }
    }

    #[inline]
    fn long(name: &[u8], first: u8) -> Self {
        match (name.len(), first) {
            (10, b'u') => pick(name, b"user-agent", Self::UserAgent),
            (10, b'c') => pick(name, b"connection", Self::Connection),
            (10, b'k') => pick(name, b"keep-alive", Self::KeepAlive),
            (10, b's') => pick(name, b"set-cookie", Self::SetCookie),
            (11, b'd') => pick(name, b"destination", Self::Destination),
            (12, b'c') => pick(name, b"content-type", Self::ContentType),
            (13, b'c') => pick(name, b"cache-control", Self::CacheControl).or(
                name,
                b"content-range",
                Self::ContentRange,
            ),
            (13, b'a') => pick(name, b"authorization", Self::Authorization).or(
                name,
                b"accept-ranges",
                Self::AcceptRanges,
            ),
            (13, b'i') => pick(name, b"if-none-match", Self::IfNoneMatch),
            (13, b'l') => pick(name, b"last-modified", Self::LastModified),
            (14, b'c') => pick(name, b"content-length", Self::ContentLength),
            (15, b'a') => pick(name, b"accept-encoding", Self::AcceptEncoding).or(
                name,
                b"accept-language",
                Self::AcceptLanguage,
            ),
            (15, b'x') => pick(name, b"x-forwarded-for", Self::XForwardedFor)
                .or(name, b"x-accel-expires", Self::XAccelExpires)
                .or(name, b"x-accel-charset", Self::XAccelCharset),
            _ => Self::longer(name, first),
        }
    }

    fn longer(name: &[u8], first: u8) -> Self {
        match (name.len(), first) {
            (16, b'c') => pick(name, b"content-encoding", Self::ContentEncoding).or(
                name,
                b"content-language",
                Self::ContentLanguage,
            ),
            (16, b'x') => pick(name, b"x-forwarded-host", Self::XForwardedHost).or(
                name,
                b"x-accel-redirect",
                Self::XAccelRedirect,
            ),
            (16, b'w') => pick(name, b"www-authenticate", Self::WwwAuthenticate),
            (16, b'p') => pick(name, b"proxy-connection", Self::ProxyConnection),
            (17, b'i') => pick(name, b"if-modified-since", Self::IfModifiedSince),
            (17, b't') => pick(name, b"transfer-encoding", Self::TransferEncoding),
            (17, b'x') => pick(name, b"x-forwarded-proto", Self::XForwardedProto).or(
                name,
                b"x-accel-buffering",
                Self::XAccelBuffering,
            ),
            (18, b'p') => pick(name, b"proxy-authenticate", Self::ProxyAuthenticate),
            (18, b'x') => pick(name, b"x-accel-limit-rate", Self::XAccelLimitRate),
            (19, b'i') => pick(name, b"if-unmodified-since", Self::IfUnmodifiedSince),
            (19, b'p') => pick(name, b"proxy-authorization", Self::ProxyAuthorization),
            (19, b'c') => pick(name, b"content-disposition", Self::ContentDisposition),
            _ => Self::Other,
        }
    }

    #[inline]
    fn or<const N: usize>(self, name: &[u8], want: &[u8; N], known: Self) -> Self {
        if self == Self::Other { pick(name, want, known) } else { self }
    }

    /// The header's bit in a set of headers. [`Known::Other`] has none.
    #[inline]
    pub(crate) const fn bit(self) -> u64 {
        (1 << self as u8) & !1
    }
}

/// `known` if `name` is `want`. Setting bit 5 folds case and confuses no two bytes a header name may have:
/// those are above 0x20, and only letters fold onto the letters and hyphens of `want`.
#[inline]
fn pick<const N: usize>(name: &[u8], want: &[u8; N], known: Known) -> Known {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return Known::Other };
    let differing = name.iter().zip(want).fold(0, |all, (have, want)| all | ((have | 0x20) ^ want));
    if differing == 0 { known } else { Known::Other }
}

const _: () = assert!((Known::XAccelCharset as u8) < 64, "a set of headers is one u64");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case() {
        for (name, known) in [
            ("host", Known::Host),
            ("HOST", Known::Host),
            ("Content-Length", Known::ContentLength),
            ("tRANSFER-eNCODING", Known::TransferEncoding),
            ("TE", Known::Te),
            ("ETag", Known::ETag),
            ("Status", Known::Status),
            ("Refresh", Known::Refresh),
            ("If-Match", Known::IfMatch),
            ("Content-Range", Known::ContentRange),
            ("Accept-Ranges", Known::AcceptRanges),
            ("Accept-Language", Known::AcceptLanguage),
            ("X-Accel-Charset", Known::XAccelCharset),
            ("X-Accel-Expires", Known::XAccelExpires),
            ("X-Accel-Redirect", Known::XAccelRedirect),
            ("X-Accel-Buffering", Known::XAccelBuffering),
            ("Content-Language", Known::ContentLanguage),
            ("Content-Disposition", Known::ContentDisposition),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn near_misses() {
        for name in [
            "",
            "t",
            "hos",
            "hosts",
            "h@st",
            "content_length",
            "content-lengtH2",
            "x-accel-limit_rate",
            "te ",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name}");
        }
    }
}
