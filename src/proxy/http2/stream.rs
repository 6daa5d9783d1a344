//! One request of an HTTP/2 connection, from its head to the end of its answer: what the exchange, the bodies and the sweep know of
//! each other.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
};

use crate::proxy::{
    head::Head,
    pages::Problem,
    patience::Patience,
    progress::{Progress, count, tick},
    refusal::Refusal,
};

/// What is shared by all who work for one request.
#[derive(Debug)]
pub(crate) struct Stream {
    head: RefCell<Option<Head>>,
    /// Why the request is refused: set when it arrives or by the sweep, read by the exchange.
    refusal: RefCell<Option<Problem>>,
    /// The head of the answer has been handed over, so that a 408 is no longer possible (B136).
    answered: Cell<bool>,
    /// It is given up: its task drops it, which resets it (CANCEL).
    killed: Cell<bool>,
    /// Its task.
    task: RefCell<Option<Waker>>,
    /// Who waits for bytes of the request body, if hotcore does (B136, B142).
    reader: RefCell<Option<Waker>>,
    input: Cell<Progress>,
    /// A piece of the answer has been handed over, and the client has not made room for it yet.
    sending: Cell<bool>,
    output: Cell<Progress>,
}

impl Stream {
    /// A request has arrived.
    pub(super) fn new(checked: Result<Head, Refusal>) -> Self {
        let (head, refusal) = match checked {
            Ok(head) => (Some(head), None),
            Err(refusal) => (None, Some(Problem::Refused(refusal))),
        };
        Self {
            head: RefCell::new(head),
            refusal: RefCell::new(refusal),
            answered: Cell::new(false),
            killed: Cell::new(false),
            task: RefCell::new(None),
            reader: RefCell::new(None),
            input: Cell::default(),
            sending: Cell::new(false),
            output: Cell::default(),
        }
    }

    /// What was found in the head, once.
    pub(crate) fn take_head(&self) -> Option<Head> {
        self.head.borrow_mut().take()
    }

    /// Whether there is a head; there is none when it was refused.
    pub(crate) fn has_head(&self) -> bool {
        self.head.borrow().is_some()
    }

    /// Why the request is refused, once.
    pub(crate) fn take_refusal(&self) -> Option<Problem> {
        self.refusal.borrow_mut().take()
    }

    /// The head of the answer is on its way.
    pub(crate) fn answer_begins(&self) {
        self.answered.set(true);
    }

    /// Whether the request still waits for the head of its answer.
    pub(super) fn is_waiting_for_answer(&self) -> bool {
        !self.answered.get()
    }

    /// Whether bytes of the body are not to be waited for any more.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.borrow().is_some()
    }

    /// Somebody waits for bytes of the request body; only then does the client's clock run.
    pub(crate) fn await_body(&self, cx: &Context<'_>) {
        *self.reader.borrow_mut() = Some(cx.waker().clone());
    }

    /// Bytes of the request body have come, or its end.
    pub(crate) fn body_comes(&self, bytes: usize) {
        if self.reader.borrow_mut().take().is_some() {
            count(&self.input, bytes);
        }
    }

    /// A piece of the answer goes to where it waits for the client's window.
    pub(super) fn piece_goes(&self) {
        self.sending.set(true);
    }

    /// There is room for the next one: so many bytes have been taken.
    pub(super) fn piece_is_taken(&self, bytes: usize) {
        if self.sending.replace(false) {
            count(&self.output, bytes);
        }
    }

    // ---- the end ----

    /// Remembers the task, so that the sweep can wake it.
    pub(super) fn attach(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Gives the request up, whatever it is doing; its siblings live.
    pub(super) fn kill(&self) {
        self.killed.set(true);
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// Looks at the time limits (B124, B136).
    pub(super) fn sweep(&self, patience: &Patience) {
        if self.sending.get() && tick(&self.output, patience) {
            return self.kill();
        }
        let is_awaited = self.reader.borrow().is_some() && !self.answered.get() && !self.is_refused();
        if is_awaited && tick(&self.input, patience) {
            *self.refusal.borrow_mut() = Some(Problem::BodyTimeout);
            if let Some(reader) = self.reader.borrow_mut().take() {
                reader.wake();
            }
        }
    }
}
