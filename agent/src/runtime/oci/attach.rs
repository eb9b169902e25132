//! Runs a command beside a container's first process for somebody who is attached to it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::exec::{Claim, Command};
use super::pod::code;
use super::{OciRuntime, io_error};
use crate::runtime::op::order::TERMINAL_FD;
use crate::runtime::{AttachRequest, Attached, RuntimeError, Terminal};

impl OciRuntime {
    pub(super) async fn execute_attached(
        &self,
        request: &AttachRequest,
    ) -> Result<Attached, RuntimeError> {
        if request.terminal.is_some() {
            self.with_terminal(request).await
        } else {
            self.with_pipes(request).await
        }
    }

    async fn with_pipes(&self, request: &AttachRequest) -> Result<Attached, RuntimeError> {
        let failed = || io_error("create a pipe");
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed()(error.into()));
        let (output, stdout) = pipe()?;
        let (error, stderr) = pipe()?;
        let input = request.stdin.then(pipe).transpose()?;
        // Before the command begins: what is found in them at its end must have been heard of by then.
        let reader = |fd| Receiver::from_owned_fd(fd).map(Box::new).map_err(failed());
        let (output, error) = (reader(output)?, reader(error)?);
        let stdin = input.as_ref().map(|(stdin, _)| (0, stdin.as_fd()));
        let fds: Vec<_> =
            [(1, stdout.as_fd()), (2, stderr.as_fd())].into_iter().chain(stdin).collect();
        let (claim, command) = self.begin(request, &fds).await?;
        let input = input.map(|(_, input)| Sender::from_owned_fd(input)).transpose();
        let input = input.map_err(failed())?;
        Ok(Attached {
            input: input.map(|input| Box::new(input) as _),
            output,
            error: Some(error),
            terminal: None,
            exit: Box::pin(ended(claim, command)),
        })
    }

    async fn with_terminal(&self, request: &AttachRequest) -> Result<Attached, RuntimeError> {
        let failed = || io_error("receive the command's terminal");
        let pair =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(|error| failed()(error.into()))?;
        let (claim, command) = self.begin(request, &[(TERMINAL_FD, theirs.as_fd())]).await?;
        let terminal = receive(&ours).and_then(Terminal::new).map_err(failed())?;
        Ok(Attached {
            input: request.stdin.then(|| Box::new(terminal.clone()) as _),
            output: Box::new(terminal.clone()),
            error: None,
            terminal: Some(terminal),
            exit: Box::pin(ended(claim, command)),
        })
    }

    async fn begin(
        &self,
        request: &AttachRequest,
        fds: &[(u8, BorrowedFd<'_>)],
    ) -> Result<(Claim, Command), RuntimeError> {
        let mut command = Command::new(self.tree.container(&request.id));
        let AttachRequest { id, args, terminal, .. } = request;
        let claim = self.execute_beside(id, args, *terminal, fds, &mut command).await?;
        Ok((claim, command))
    }
}

/// How a command ends. Nobody waits for it once this is dropped, and it ends.
async fn ended(mut claim: Claim, mut command: Command) -> Option<i32> {
    let ended = (&mut claim.told).await.ok()?;
    command.is_over();
    Some(code(&ended))
}

/// The descriptor that a helper has sent before it reported.
fn receive(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let sent = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    sent.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
