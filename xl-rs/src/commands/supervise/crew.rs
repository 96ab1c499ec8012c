//! The threads that work at domains' ends: a few at a time, the rest in turn.

use super::book::{Answer, Task};
use super::work::carry_out_task;
use crate::commands::build::Halts;
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

/// How many ends are worked on at once. Most of one is waiting: for a backend, for a lock.
const AT_ONCE: usize = 16;

/// The threads.
pub struct Crew {
    waiting: VecDeque<Task>,
    busy: usize,
    answers: Receiver<(Task, Answer)>,
    answer: Sender<(Task, Answer)>,
    /// Readable when there is an answer.
    came: UnixStream,
    wake: UnixStream,
    halts: Halts,
}

impl Crew {
    /// Nobody works yet.
    pub fn new(halts: Halts) -> io::Result<Self> {
        let (came, wake) = UnixStream::pair()?;
        came.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let (answer, answers) = channel();
        Ok(Self { waiting: VecDeque::new(), busy: 0, answers, answer, came, wake, halts })
    }

    /// Takes a task on.
    pub fn take(&mut self, task: Task) -> io::Result<()> {
        self.waiting.push_back(task);
        self.begin()
    }

    /// Readable when there is an answer.
    pub fn came(&self) -> &UnixStream {
        &self.came
    }

    /// Forgets what has not been begun, and waits until the rest is done.
    pub fn finish(mut self) {
        self.waiting.clear();
        // There is a sender in here, too, so that this cannot end early.
        for _ in self.answers.iter().take(self.busy) {}
    }

    /// The tasks that have ended.
    pub fn answers(&mut self) -> io::Result<Vec<(Task, Answer)>> {
        let mut bytes = [0; 64];
        while matches!(self.came.read(&mut bytes), Ok(count) if count > 0) {}
        let done: Vec<_> = self.answers.try_iter().collect();
        self.busy -= done.len();
        self.begin()?;
        Ok(done)
    }

    fn begin(&mut self) -> io::Result<()> {
        while self.busy < AT_ONCE
            && let Some(task) = self.waiting.pop_front()
        {
            let (answer, mut wake) = (self.answer.clone(), self.wake.try_clone()?);
            let halts = self.halts;
            std::thread::Builder::new().name(String::from("end")).spawn(move || {
                // A panic is a fault of this program; the domain is kept for people to look at.
                let done = std::panic::catch_unwind(|| carry_out_task(task, halts));
                // The supervisor outlives its threads; a full pipe wakes it as well.
                let _ = answer.send((task, done.unwrap_or(Answer::Kept)));
                let _ = wake.write(&[1]);
            })?;
            self.busy += 1;
        }
        Ok(())
    }
}
