//! Passwords against what a user file has of them: nginx's own schemes, and those of crypt(3).

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::base64;

mod des;

/// User and password in `Authorization: Basic ..`.
pub fn credentials(authorization: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut decoded = Vec::new();
    if !base64::decode(encoded.trim_ascii_start(), &mut decoded) {
        return None;
    }
    let colon = memchr::memchr(b':', &decoded).filter(|colon| *colon > 0)?;
    let password = decoded[colon + 1..].to_vec();
    decoded.truncate(colon);
    Some((decoded, password))
}

/// What a user file has of a user's password: `user:password`, with or without more behind another colon. Lines that
/// begin with `#` are no users, whatever name a client sends.
pub fn stored<'a>(file: &'a [u8], user: &[u8]) -> Option<&'a [u8]> {
    if user.starts_with(b"#") {
        return None;
    }
    let line =
        file.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(user)?.strip_prefix(b":"))?;
    line.split(|byte| matches!(byte, b':' | b'\r')).next()
}

/// Whether comparing takes so long that a loop must not do it.
pub fn is_slow(stored: &[u8]) -> bool {
    !stored.starts_with(b"{")
}

/// Whether this is the password; `None` if what is stored is of no kind known here.
pub fn verify(password: &[u8], stored: &[u8]) -> Option<bool> {
    if let Some(plain) = stored.strip_prefix(b"{PLAIN}") {
        return Some(same(plain, password));
    }
    if let Some(encoded) = stored.strip_prefix(b"{SSHA}") {
        let mut decoded = Vec::new();
        let good = base64::decode(encoded, &mut decoded) && decoded.len() >= 20;
        let (hash, salt) = good.then(|| decoded.split_at(20))?;
        return Some(same(hash, &Sha1::new().chain_update(password).chain_update(salt).finalize()));
    }
    if let Some(encoded) = stored.strip_prefix(b"{SHA}") {
        let mut ours = Vec::new();
        base64::encode(&Sha1::digest(password), &mut ours);
        return Some(same(encoded, &ours));
    }
    let ours = match stored {
        [b'$', b'a', b'p', b'r', b'1', b'$', rest @ ..] => md5_crypt(password, b"$apr1$", rest),
        [b'$', b'1', b'$', rest @ ..] => md5_crypt(password, b"$1$", rest),
        [b'$', b'5', b'$', rest @ ..] => sha_crypt::<Sha256>(password, b"$5$", rest, &ORDER_256)?,
        [b'$', b'6', b'$', rest @ ..] => sha_crypt::<Sha512>(password, b"$6$", rest, &ORDER_512)?,
        [b'$', b'2', ..] => return bcrypt::verify(password, std::str::from_utf8(stored).ok()?).ok(),
        _ => des::crypt(password, stored)?,
    };
    Some(same(&ours, stored))
}

/// In a time that says nothing of where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// The salt: what comes before the next `$`, no longer than it may be.
fn salt_of(rest: &[u8], longest: usize) -> &[u8] {
    let end = memchr::memchr(b'$', rest).unwrap_or(rest.len());
    &rest[..end.min(longest)]
}

/// The first `length` bytes of what a digest gives again and again.
fn repeated(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// crypt(3)'s base64: `digits` digits of six bits, the lowest first.
fn push_digits(mut bits: u32, digits: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..digits {
        out.push(DIGITS[(bits & 63) as usize]);
        bits >>= 6;
    }
}

/// Kamp's MD5 crypt; Apache's differs by its magic.
fn md5_crypt(password: &[u8], magic: &[u8], rest: &[u8]) -> Vec<u8> {
    let salt = salt_of(rest, 8);
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut context = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    context.update(repeated(&inner, password.len()));
    let mut length = password.len();
    while length > 0 {
        context.update(if length & 1 == 1 { &[0] } else { &password[..1] });
        length >>= 1;
    }
    let mut digest = context.finalize();
    for round in 0..1000 {
        let mut context = Md5::new();
        context.update(if round & 1 == 1 { password } else { &digest });
        if round % 3 != 0 {
            context.update(salt);
        }
        if round % 7 != 0 {
            context.update(password);
        }
        context.update(if round & 1 == 1 { &digest } else { password });
        digest = context.finalize();
    }
    let mut out = [magic, salt, b"$"].concat();
    let d = |i: usize| u32::from(digest[i]);
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        push_digits(d(a) << 16 | d(b) << 8 | d(c), 4, &mut out);
    }
    push_digits(d(11), 2, &mut out);
    out
}

/// The order in which Drepper's SHA crypt takes the bytes of the digest, in threes; what does not fill three is last.
const ORDER_256: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];
const ORDER_512: [[usize; 3]; 21] = [
    [0, 21, 42],
    [22, 43, 1],
    [44, 2, 23],
    [3, 24, 45],
    [25, 46, 4],
    [47, 5, 26],
    [6, 27, 48],
    [28, 49, 7],
    [50, 8, 29],
    [9, 30, 51],
    [31, 52, 10],
    [53, 11, 32],
    [12, 33, 54],
    [34, 55, 13],
    [56, 14, 35],
    [15, 36, 57],
    [37, 58, 16],
    [59, 17, 38],
    [18, 39, 60],
    [40, 61, 19],
    [62, 20, 41],
];

/// Drepper's SHA crypt; `None` if the rounds are no number.
fn sha_crypt<D: Digest>(password: &[u8], magic: &[u8], rest: &[u8], order: &[[usize; 3]]) -> Option<Vec<u8>> {
    let mut out = magic.to_vec();
    let (rounds, rest) = match rest.strip_prefix(b"rounds=") {
        None => (5000, rest),
        Some(rest) => {
            let end = memchr::memchr(b'$', rest)?;
            let written = std::str::from_utf8(&rest[..end]).ok()?.parse::<u32>().ok()?;
            let rounds = written.clamp(1000, 999_999_999);
            out.extend_from_slice(format!("rounds={rounds}$").as_bytes());
            (rounds, &rest[end + 1..])
        }
    };
    let salt = salt_of(rest, 16);
    out.extend_from_slice(salt);
    out.push(b'$');
    let digest = sha_rounds::<D>(password, salt, rounds);
    let d = |i: usize| u32::from(digest[i]);
    for [a, b, c] in order {
        push_digits(d(*a) << 16 | d(*b) << 8 | d(*c), 4, &mut out);
    }
    match digest.len() {
        32 => push_digits(d(31) << 8 | d(30), 3, &mut out),
        _ => push_digits(d(63), 2, &mut out),
    }
    Some(out)
}

fn sha_rounds<D: Digest>(password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    let inner = D::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut context = D::new().chain_update(password).chain_update(salt);
    context.update(repeated(&inner, password.len()));
    let mut length = password.len();
    while length > 0 {
        context.update(if length & 1 == 1 { &inner[..] } else { password });
        length >>= 1;
    }
    let mut digest = context.finalize();
    let many = |text: &[u8], times: usize| {
        let mut context = D::new();
        (0..times).for_each(|_| context.update(text));
        context.finalize()
    };
    let p = repeated(&many(password, password.len()), password.len());
    let s = repeated(&many(salt, 16 + usize::from(digest[0])), salt.len());
    for round in 0..rounds {
        let mut context = D::new();
        context.update(if round & 1 == 1 { &p[..] } else { &digest });
        if round % 3 != 0 {
            context.update(&s);
        }
        if round % 7 != 0 {
            context.update(&p);
        }
        context.update(if round & 1 == 1 { &digest[..] } else { &p });
        digest = context.finalize();
    }
    digest.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn users_and_passwords() {
        let of = |text: &[u8]| {
            let found = credentials(text)?;
            Some((String::from_utf8(found.0).ok()?, String::from_utf8(found.1).ok()?))
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of(b"Basic dXNlcjpwdw=="), pair("user", "pw"));
        assert_eq!(of(b"basic   dXNlcjpwOnc="), pair("user", "p:w"));
        assert_eq!(of(b"Basic dXNlcjo="), pair("user", ""));
        for none in [&b"Basic"[..], b"Basic ", b"Basic OnB3", b"Basic dXNlcg==", b"Bearer x", b"Basic !"] {
            assert_eq!(of(none), None);
        }
    }

    #[test]
    fn lines_of_a_user_file() {
        let file = b"a:1\nab:2:more\r\n#c:3\nd\nempty:\nab:4";
        for (user, want) in [
            ("a", Some("1")),
            ("ab", Some("2")),
            ("c", None),
            ("#c", None),
            ("d", None),
            ("empty", Some("")),
            ("", None),
        ] {
            assert_eq!(stored(file, user.as_bytes()), want.map(str::as_bytes), "{user}");
        }
    }

    const LONG: &str = "a much longer password than one block of any of these hashes could ever be, really";

    #[test]
    fn what_crypt_makes_is_verified() {
        for (password, stored) in [
            ("secret", "{PLAIN}secret"),
            ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
            ("secret", "$1$saltsalt$9xy1btjgzLYfb7hivXtC//"),
            ("secret", "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0"),
            ("secret", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
            ("secret", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
            ("secret", "$5$rounds=1000$saltstring$AH5PD0i.riCRu4BNDy9v7OPV7u3dfLBApcXI6khquVA"),
            ("secret", "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"),
            (
                "secret",
                "$6$rounds=1000$saltstringlong16$QqnNlW6cufx1IZjTObkozWh5HNvoflrksV.EnwtcN49thAfIPpiS5J7l/TG.eWc6nnFgp62sHJ2QpTKrmMcdS/",
            ),
            ("secret", "abNANd1rDfiNc"),
            ("rasmuslerdorf", "rl.3StKT.4T8M"),
            (LONG, "$1$saltstri$M7z.R6cquK/uYG6olHeiW1"),
            (LONG, "$apr1$saltsalt$BXwhXFdiVikhXf.TYDsk7/"),
            (LONG, "$5$saltstring$oUyKw8v6BJ8XGR5fc8lFTVm/a/T9Xug.K4upJloej99"),
            (
                LONG,
                "$6$saltstring$xjP2KYPu26AkLHg.M2BTrqhbcUUptblFp6kqW558HaaWi3LetezMSImAsk87J9rLIWiTSpMDrUSvERDRhN2Jj/",
            ),
        ] {
            assert_eq!(verify(password.as_bytes(), stored.as_bytes()), Some(true), "{stored}");
            assert_eq!(verify(b"another", stored.as_bytes()), Some(false), "{stored}");
        }
        assert_eq!(verify(b"secret", b"secret"), Some(false), "not a hash, but its first letters are a salt");
        assert_eq!(verify(b"", b"*"), None);
        assert_eq!(verify(b"", b"!!"), None);
        assert_eq!(verify(b"", b"$6$rounds=x$a$"), None);
        assert_eq!(verify(b"", b"{SSHA}dG9vIHNob3J0"), None);
    }

    #[test]
    fn salted_sha() {
        let mut stored = b"{SSHA}".to_vec();
        let hash = Sha1::new().chain_update("secret").chain_update("salt").finalize();
        base64::encode(&[&hash[..], b"salt"].concat(), &mut stored);
        assert_eq!(verify(b"secret", &stored), Some(true));
        assert_eq!(verify(b"other", &stored), Some(false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_makes_it_panic(kind in prop::sample::select(vec!["{SSHA}", "{SHA}", "$apr1$", "$1$", "$5$rounds=", "$2y$", "ab", ""]), rest: Vec<u8>, password: Vec<u8>) {
            verify(&password, &[kind.as_bytes(), &rest].concat());
        }
    }
}
