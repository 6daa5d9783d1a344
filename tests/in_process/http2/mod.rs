//! HTTP/2: the same as HTTP/1.1, and what it adds: streams, windows, trailers, resets, floods (behaviour, sections 6, 7, 11).

mod bodies;
mod ends;
mod floods;
mod hostile;
mod hosts;
mod limits;
mod requests;
mod rig;

pub(crate) use self::rig::Raw;

use std::time::Duration;

use http::Request;

use crate::secure::SecureFront;

/// Asks for `paths`, then for one that is given up once `is_there` says that the backend has it.
pub(crate) fn visit_and_leave(
    front: &SecureFront,
    name: &'static str,
    paths: &[&str],
    last: &str,
    is_there: impl FnOnce(),
) {
    let request = |path: &str| Request::get(format!("https://{name}{path}")).body(()).unwrap();
    rig::run(async {
        let mut client = rig::Client::connect_with(front, name, &h2::client::Builder::new()).await;
        for path in paths {
            rig::Answer::read(client.ask(request(path)).await.unwrap()).await.unwrap();
        }
        client.ready().await.unwrap();
        let (answer, mut stream) = client.send.send_request(request(last), true).unwrap();
        // The client works in between.
        tokio::time::sleep(Duration::from_millis(50)).await;
        is_there();
        stream.send_reset(h2::Reason::CANCEL);
        assert!(answer.await.is_err());
    });
}
