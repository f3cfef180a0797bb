//! Compiles `proto/*.proto` into Rust with nothing but cargo: `protox` reads the files, `tonic`
//! writes clients and servers.

use std::error::Error;

const FILES: [&str; 7] = [
    "kv.proto",
    "auth.proto",
    "rpc.proto",
    "v3lock.proto",
    "v3election.proto",
    "health.proto",
    "peer.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::SmallBuffers")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
