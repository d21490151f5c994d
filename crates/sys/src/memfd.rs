//! Contents in memory, handed to another process as a descriptor that nobody can change any more.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// A sealed file in memory with these contents; closed on exec. `name` is for /proc only.
pub fn sealed(name: &str, contents: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(contents)?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

/// Reads a sealed file whole, wherever its offset is. One that is not sealed is refused: it could change under us.
pub fn read(fd: impl AsFd) -> io::Result<Vec<u8>> {
    let file = File::from(fd.as_fd().try_clone_to_owned()?);
    if !fcntl_get_seals(&file)?.contains(SEALS) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not sealed"));
    }
    let size = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut contents = vec![0; size];
    file.read_exact_at(&mut contents, 0)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_stays() {
        let contents: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let fd = sealed("test", &contents).unwrap();
        assert_eq!(read(&fd).unwrap(), contents);
        assert_eq!(read(&fd).unwrap(), contents, "a second time too");
        let mut file = File::from(fd);
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
    }

    #[test]
    fn unsealed_is_refused() {
        let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert_eq!(read(&fd).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
