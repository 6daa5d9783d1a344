//! What unit tests share: the seed of their random input, and a folder that knows every state that a crash may leave.

pub(crate) mod folder;

/// The seed of a random test: `HOTCORE_SEED` if that is set, else a new one. It is printed, which the test harness shows
/// when the test fails.
#[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test is its own edge")]
pub(crate) fn seed() -> u64 {
    let given = std::env::var("HOTCORE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("HOTCORE_SEED={seed}");
    seed
}
