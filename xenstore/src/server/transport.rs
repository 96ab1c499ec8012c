//! What a connection needs of the way to its peer.

use xen_sys::io::xs_wire::XENSTORE_RING_SIZE;

use super::fault::Fault;

/// Two streams of bytes with positions, which never wait.
///
/// A position counts the bytes of a stream modulo 2³². The server says where it is; a transport
/// over a ring publishes that, one over a socket only keeps what was read and not yet taken.
pub trait Transport {
    /// Appends bytes that the peer has sent, from position `at` on, to `buffer`; returns how many.
    /// The same bytes may be asked for again until [`Transport::taken`].
    ///
    /// # Errors
    /// The connection is at its end.
    fn receive(&mut self, at: u32, buffer: &mut Vec<u8>) -> Result<usize, Fault>;

    /// Whether bytes from position `at` on may be there already, of which nobody will tell.
    fn has_more(&self, _at: u32) -> bool {
        false
    }

    /// Says that nothing before position `at` will be asked for again. Returns whether the peer has
    /// to be notified of that.
    ///
    /// # Errors
    /// The connection is at its end.
    fn taken(&mut self, at: u32) -> Result<bool, Fault>;

    /// Sends the first of `bytes`, the stream's from position `at` on; returns how many went.
    ///
    /// # Errors
    /// The connection is at its end.
    fn send(&mut self, at: u32, bytes: &[u8]) -> Result<usize, Fault>;

    /// Where a way that outlives the server says that the streams are: the position up to which
    /// request bytes were taken, and that of the next reply byte. `None` for a way that began with
    /// this server. The peer of a ring may have written there. `at` is the position up to which
    /// request bytes were taken as the server before this one wrote it down.
    ///
    /// # Errors
    /// The connection is at its end.
    fn published(&self, _at: u32) -> Result<Option<(u32, u32)>, Fault> {
        Ok(None)
    }

    /// How many request bytes may be written down as taken before [`Transport::published`] says so.
    fn unpublished_max(&self) -> usize {
        XENSTORE_RING_SIZE
    }

    /// Wakes the peer after bytes were taken or sent.
    ///
    /// # Errors
    /// The connection is at its end.
    fn notify(&mut self) -> Result<(), Fault>;

    /// Says whether there are bytes that did not go, so that the server has to hear when there is
    /// room.
    ///
    /// # Errors
    /// The connection is at its end.
    fn await_room(&mut self, _waiting: bool) -> Result<(), Fault> {
        Ok(())
    }

    /// Whether the peer asks for a new beginning.
    fn asks_for_reset(&self) -> bool {
        false
    }

    /// Empties both streams; their positions begin at 0 again. `features` are to be advertised.
    ///
    /// # Errors
    /// The connection is at its end.
    fn reset(&mut self, _features: u32) -> Result<(), Fault> {
        Ok(())
    }

    /// Advertises features on a connection that has nothing against it.
    ///
    /// # Errors
    /// The connection is at its end.
    fn advertise(&mut self, _features: u32) -> Result<(), Fault> {
        Ok(())
    }

    /// Tells a peer that has asked for a new beginning that it has come.
    ///
    /// # Errors
    /// The connection is at its end.
    fn reset_done(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Tells the peer, where there is a way to, that its connection is at its end.
    fn park(&mut self, _fault: &Fault) {}
}
