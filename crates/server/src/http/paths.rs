//! From a request's path to a file's.

use super::request::Request;

impl Request {
    /// Appends `root` or `alias` as in force (`$document_root`).
    pub fn document_root(&mut self, out: &mut Vec<u8>) {
        let plan = self.plan();
        plan.core.root.path.render(self, out);
    }
    /// Appends the file's path for the path in force (`$request_filename`).
    pub fn file_path(&mut self, out: &mut Vec<u8>) {
        self.document_root(out);
        let (uri, plan) = (&self.uri, self.plan());
        let root = &plan.core.root;
        if !root.alias {
            out.extend_from_slice(uri);
        } else if root.prefix > 0 {
            out.extend_from_slice(&uri[root.prefix.min(uri.len())..]);
        } else if self.pass.behind_alias {
            out.extend_from_slice(uri);
        }
    }
    /// Whether the path in force has a file: not where `alias` would replace a prefix that `rewrite` took away.
    pub fn has_file_path(&self) -> bool {
        let plan = self.plan();
        let possible = !(plan.core.root.alias && self.location_left);
        if !possible {
            let name = String::from_utf8_lossy(&plan.core.location);
            log_alert!(self, "\"alias\" cannot be used in location \"{name}\" where URI was rewritten");
        }
        possible
    }
}

/// A path that stays below the root.
pub fn is_safe(path: &[u8]) -> bool {
    path.starts_with(b"/") && !path.contains(&0) && !path.split(|b| *b == b'/').any(|part| part == b"..")
}
/// What the log shows of a target whose path is not safe: all of it, or what its path is in truth (`uri`).
pub fn unsafe_part<'a>(target: &'a [u8], uri: &'a [u8]) -> &'a [u8] {
    let (path, _) = wire::uri::split_args(target);
    if is_safe(path) { uri } else { target }
}
