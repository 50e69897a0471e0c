//! Sessions that runs borrow: one set for each concurrent run, made when it is needed first.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Things of which one run at a time uses one.
pub(super) struct Pool<T> {
    state: Mutex<State<T>>,
    returned: Condvar,
    /// How many there may be; runs wait for one where there are no more.
    most: usize,
}

struct State<T> {
    idle: Vec<T>,
    made: usize,
}

impl<T> Pool<T> {
    pub(super) fn new(most: usize) -> Self {
        let state = Mutex::new(State { idle: Vec::new(), made: 0 });
        Self { state, returned: Condvar::new(), most: most.max(1) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A panic elsewhere cannot leave the list half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts in one that was made elsewhere.
    pub(super) fn put(&self, one: T) {
        let mut state = self.state();
        state.idle.push(one);
        state.made += 1;
    }

    /// One that nobody uses; `make` makes it where there is none.
    pub(super) fn take<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Taken<'_, T>, E> {
        let mut state = self.state();
        loop {
            if let Some(one) = state.idle.pop() {
                return Ok(Taken { pool: self, one: Some(one) });
            }
            if state.made < self.most {
                state.made += 1;
                break;
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        // The place is given back where nothing is made, also by a panic.
        let mut taken = Taken { pool: self, one: None };
        taken.one = Some(make()?);
        Ok(taken)
    }
}

/// One of a pool; it goes back when this is dropped.
pub(super) struct Taken<'p, T> {
    pool: &'p Pool<T>,
    one: Option<T>,
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        match self.one.take() {
            Some(one) => state.idle.push(one),
            None => state.made -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.one.as_ref().expect("it is there until the drop")
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.one.as_mut().expect("it is there until the drop")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_are_made_than_allowed() {
        let pool: Pool<usize> = Pool::new(2);
        let (made, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _one = pool.take(|| Ok::<_, ()>(made.fetch_add(1, Ordering::SeqCst))).unwrap();
                        assert!(busy.fetch_add(1, Ordering::SeqCst) < 2);
                        std::thread::yield_now();
                        busy.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=2).contains(&made.load(Ordering::SeqCst)));
    }

    #[test]
    fn a_failure_gives_the_place_back() {
        let pool: Pool<u8> = Pool::new(1);
        assert_eq!(pool.take(|| Err("no")).err(), Some("no"));
        let one = pool.take(|| Ok::<_, ()>(7)).unwrap();
        assert_eq!(*one, 7);
        drop(one);
        assert_eq!(*pool.take(|| Ok::<_, ()>(8)).unwrap(), 7, "made once");
    }
}
