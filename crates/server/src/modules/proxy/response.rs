//! Headers of the answer that name places: what is right there is made right here.

use wire::Known;

use super::redirect;
use super::settings::Settings;
use crate::http::request::Request;

impl Settings {
    /// Puts `Location`, `Refresh` or `Set-Cookie` into the response; `false`: nothing changes it.
    pub(super) fn rewrite(&self, request: &mut Request, known: Known, name: &[u8], value: &[u8]) -> bool {
        match known {
            Known::Location => self.location(request, value),
            Known::Refresh => self.refresh(request, name, value),
            Known::SetCookie => self.cookie(request, name, value),
            _ => false,
        }
    }

    fn location(&self, request: &mut Request, value: &[u8]) -> bool {
        let mut changed = request.thread.buffer();
        let rewritten = redirect::rewrite(&self.redirects, request, value, &mut changed);
        if rewritten {
            request.response.location = Some(request.response.store(&changed));
            // As in nginx a path is made absolute only where it was written here.
            request.response.location_is_ours = true;
            request.response.location_place = request.response.headers.len() as u16;
        }
        request.thread.give_buffer(changed);
        rewritten
    }

    /// `Refresh: 5; url=..`
    fn refresh(&self, request: &mut Request, name: &[u8], value: &[u8]) -> bool {
        let at = value.windows(4).position(|w| w.eq_ignore_ascii_case(b"url=")).map(|i| i + 4);
        let mut changed = request.thread.buffer();
        let rewritten = at.is_some_and(|at| {
            changed.extend_from_slice(&value[..at]);
            redirect::rewrite(&self.redirects, request, &value[at..], &mut changed)
        });
        if rewritten {
            request.response.add(Known::Refresh, name, &changed);
        }
        request.thread.give_buffer(changed);
        rewritten
    }

    fn cookie(&self, request: &mut Request, name: &[u8], value: &[u8]) -> bool {
        if self.cookies.is_empty() {
            return false;
        }
        let mut changed = request.thread.buffer();
        let rewritten = self.cookies.rewrite(request, value, &mut changed);
        if rewritten {
            request.response.add(Known::SetCookie, name, &changed);
        }
        request.thread.give_buffer(changed);
        rewritten
    }
}
