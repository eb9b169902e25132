//! Turns for work that may hang in the kernel or a library, and keeps a helper thread as it does.

use std::future::Future;
use std::io;

use tokio::sync::Semaphore;

/// Works in a task of its own, which keeps its place to the end: the thread behind it goes on when
/// nobody waits for it any more.
pub(crate) async fn in_turn<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<T> {
    let place = places.acquire().await.map_err(io::Error::other)?;
    let done = tokio::spawn(async move {
        let done = work.await;
        drop(place);
        done
    });
    done.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_leaves_no_place_before_the_work_is_done() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let limit = std::time::Duration::from_secs(1);
        let (finish, finished) = oneshot::channel::<()>();
        let first = in_turn(&ONE, finished);
        assert!(timeout(limit, first).await.is_err(), "it goes on");
        let mut second = Box::pin(in_turn(&ONE, async { 2 }));
        assert!(timeout(limit, &mut second).await.is_err(), "it waits");
        finish.send(()).expect("it goes on without anybody");
        assert_eq!(second.await.expect("a place"), 2);
    }
}
