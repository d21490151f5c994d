//! Who may use a file that the server makes (`dav_access`, `proxy_store_access`).

use conf::{Args, Error};

/// Rights to a file, as its mode has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(pub u32);

/// Nobody but the owner.
impl Default for Access {
    fn default() -> Self {
        Access(0o600)
    }
}

impl Access {
    /// Reads `user:rw group:r all:r`; the user's rights are `rw` unless they are said.
    ///
    /// # Errors
    /// nginx's `invalid value`.
    pub fn read(a: &Args<'_>) -> Result<Access, Error> {
        let (mut access, mut user) = (0, 0o600);
        for text in a.iter() {
            let wrong = || a.error(format!("invalid value \"{text}\""));
            let (who, rights) = text.split_once(':').ok_or_else(wrong)?;
            let rights = match rights {
                "rw" => 6,
                "r" => 4,
                _ => return Err(wrong()),
            };
            match who {
                "user" => {
                    user = 0;
                    access |= rights << 6;
                }
                "group" => access |= rights << 3,
                "all" => access |= rights,
                _ => return Err(wrong()),
            }
        }
        Ok(Access(access | user))
    }
    /// The mode of a directory for such files: it may be entered where they may be read.
    pub fn folder(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }
}
