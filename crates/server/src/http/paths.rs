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
        let uri = &self.uri;
        if !self.plan().core.root.alias {
            out.extend_from_slice(uri);
        } else if self.location_prefix > 0 {
            out.extend_from_slice(&uri[self.location_prefix.min(uri.len())..]);
        } else if self.pass.behind_alias {
            out.extend_from_slice(uri);
        }
    }
}
