//! A real server in this process, driven over real sockets.

mod house;
