//! Tells xtask which platform it was built for: fuzz targets are built for the same.
#![forbid(unsafe_code)]

fn main() {
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=XTASK_HOST={target}");
}
