//! HTTP/2: the same as HTTP/1.1, and what it adds: streams, windows, trailers, resets, floods (behaviour, sections 6, 7, 11).

mod bodies;
mod ends;
mod floods;
mod hosts;
mod limits;
mod requests;
mod rig;
