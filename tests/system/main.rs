//! The real program, driven by real clients and backends.
//!
//! `rig` starts what a test needs (the daemon, backends, clients, load) and ends it; each other module is a topic. The tests
//! wait for events with deadlines, never for time to pass, and every port is chosen by the kernel.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod backends;
mod browser;
mod cert;
mod certificates;
mod cli;
mod clients;
mod commands;
mod completions;
mod crashes;
mod deploys;
mod disk;
mod hitless;
mod https;
mod install;
mod install_sh;
mod issuing;
mod local;
mod local_names;
mod manual;
mod mishaps;
mod mkcert;
mod neighbour;
mod operating;
mod package;
mod package_life;
mod package_lists;
mod package_trouble;
mod ports;
mod reload;
mod rig;
mod rpm_life;
mod sandbox;
mod scale;
mod secure_clients;
mod secure_service;
mod service;
mod stop;
mod streams;
mod takeover;
mod testssl;
