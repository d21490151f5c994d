//! `auth_basic`: a user's name and password, looked up in a file for each request.

use std::io;
use std::path::Path;
use std::sync::Arc;

use conf::{Error, HTTP, Inherit, LIMIT_EXCEPT, LOCATION, SERVER, Scope, Setting, Within, directive};
use formats::password::{self, credentials};
use wire::Known;

use super::Module;
use crate::flow::Verdict;
use crate::http::request::Request;
use crate::http::steps::{Outcome, Step};
use crate::http::variables::Template;
use crate::log::Errno;
use crate::worker::generation::Compiler;
use crate::worker::ledger::{Class, Line};

const IN: Within = HTTP.or(SERVER).or(LOCATION).or(LIMIT_EXCEPT);

pub(crate) static MODULE: Module = Module {
    name: "auth_basic",
    directives: &[
        directive("auth_basic", IN, conf::exactly(1), |at, a| {
            let realm = Template::compile(at, a, 0)?;
            at.own::<Conf>().realm.set(realm)
        }),
        directive("auth_basic_user_file", IN, conf::exactly(1), |at, a| {
            let file = Template::compile(at, a, 0)?;
            // Relative to the configuration, as nginx has it; a variable in front makes it absolute or not.
            let base = a.conf_path("");
            at.own::<Conf>().file.set((file, base.into()))
        }),
    ],
    variables: &[],
};

/// As written.
#[derive(Default)]
struct Conf {
    realm: Setting<Template>,
    file: Setting<(Template, Box<str>)>,
}
impl Inherit for Conf {
    fn inherit(&mut self, outer: &Conf) {
        self.realm.inherit(&outer.realm);
        self.file.inherit(&outer.file);
    }
}

/// As run.
struct Basic {
    realm: Template,
    file: Template,
    /// What a relative name is relative to.
    base: Box<str>,
}

pub(crate) fn access(at: &Scope, _: &mut Compiler<'_>) -> Result<Option<Box<dyn Step>>, Error> {
    let Some(conf) = at.conf::<Conf>() else { return Ok(None) };
    let (Some(realm), Some((file, base))) = (conf.realm.written(), conf.file.written()) else {
        return Ok(None);
    };
    if realm.as_literal() == Some(b"off") {
        return Ok(None);
    }
    Ok(Some(Box::new(Basic { realm: realm.clone(), file: file.clone(), base: base.clone() })))
}

impl Step for Basic {
    fn check<'a>(&'a self, request: &'a mut Request) -> Outcome<'a, Verdict> {
        let mut realm = Vec::new();
        self.realm.render(request, &mut realm);
        if realm == b"off" {
            return Verdict::Next.into();
        }
        let Some((user, secret)) = request.header(request.challenge().credentials).and_then(credentials)
        else {
            log_info!(request, "no user/password was provided for basic authentication");
            return ask(request, &realm).into();
        };
        let path = self.path(request);
        let found = match stored(&path, &user) {
            Ok(found) => found,
            Err(error) => return unreadable(request, &path, &error).into(),
        };
        let Some(stored) = found else {
            let user = crate::log::shown(&user);
            log_error!(request, "user \"{user}\" was not found in \"{path}\"");
            return ask(request, &realm).into();
        };
        if !password::is_slow(&stored) {
            let verified = password::verify(&secret, &stored);
            return judge(request, &realm, &user, verified).into();
        }
        Outcome::wait(async move {
            let work = move || password::verify(&secret, &stored);
            let blocking = request.thread.process.blocking.run(work);
            match blocking.await {
                Ok(verified) => judge(request, &realm, &user, verified),
                Err(_) => Verdict::Reject(503),
            }
        })
    }
}

impl Basic {
    fn path(&self, request: &mut Request) -> Arc<str> {
        let mut name = Vec::new();
        self.file.render(request, &mut name);
        let name = String::from_utf8_lossy(&name);
        Path::new(&*self.base).join(&*name).to_string_lossy().into()
    }
}

/// What the file has of a user's password.
fn stored(path: &str, user: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let _line = Line::new(Class::File);
    let text = std::fs::read(path)?;
    Ok(password::stored(&text, user).map(<[u8]>::to_vec))
}

fn unreadable(request: &Request, path: &str, error: &io::Error) -> Verdict {
    let call = if error.kind() == io::ErrorKind::IsADirectory { "pread" } else { "open" };
    let text = format_args!("{call}() \"{path}\" failed ({})", Errno(error));
    if error.kind() == io::ErrorKind::NotFound {
        log_error!(request, "{text}");
        return Verdict::Reject(403);
    }
    log_crit!(request, "{text}");
    Verdict::Reject(500)
}

fn judge(request: &mut Request, realm: &[u8], user: &[u8], verified: Option<bool>) -> Verdict {
    // What is stored in no form that is known here is nobody's password: nginx says the same of it.
    if verified == Some(true) {
        return Verdict::Allow;
    }
    let user = crate::log::shown(user);
    log_error!(request, "user \"{user}\": password mismatch");
    ask(request, realm)
}

/// Who are you?
fn ask(request: &mut Request, realm: &[u8]) -> Verdict {
    let value = [b"Basic realm=\"", realm, b"\""].concat();
    let challenge = request.challenge();
    request.response.add(Known::Other, challenge.name, &value);
    Verdict::Reject(challenge.status)
}
