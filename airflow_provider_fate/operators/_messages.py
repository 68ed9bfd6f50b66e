"""A party's messages in one try of a task, as far as they are not the application's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_fate.hooks.job_links import JobLinks
    from airflow_provider_fate.job.party import Party

#: seconds for the application and the peers' brokers to let go of the queues between linked brokers
_TAKE_DOWN_SECONDS = 6.0


class PartyMessages:
    """What a task does before and after its application, or in its place where that ends without a word.

    Connections are asked for once: when a task is stopped there is no time for it.

    :param conn_id: the messages connection
    :param me: the task's party
    :param parties: all of the job
    :param log: of the task
    """

    def __init__(self, conn_id: str, job_id: str, me: Party, parties: Sequence[Party], log: Any) -> None:
        from airflow_provider_fate.hooks.transport import new_nonce, transport_hook

        hook = transport_hook(conn_id)
        self.config = hook.transport_config()
        #: of this try; the peers know it by that
        self.nonce = new_nonce()
        self._job_id = job_id
        self._me = me
        self._parties = parties
        self._hook = hook
        self._links: JobLinks | None = None
        self._log = log

    def check(self) -> None:
        """Look at keys, and find which peers' brokers are to be linked with the own one.

        :raises ConfigError: a connection is wrong
        """
        self._hook.check_keys(self._job_id, self._me, self._parties)
        self._links = self._hook.job_links(self._job_id, self._me, self._parties)

    def set_up(self) -> None:
        """Link the own broker with the peers', where it is to be. :raises TransportError: it cannot be"""
        if self._links is not None:
            self._links.set_up()
            self._log.info("The own broker fetches what parties %s send from theirs", ", ".join(self._links.peers))

    def take_down(self) -> None:
        """Undo that. Never raises."""
        if self._links is not None:
            self._links.take_down(_TAKE_DOWN_SECONDS)

    def explain(self) -> str:
        """Where brokers are linked, how the links are, for the error about a peer that is not heard of."""
        return f" Here {self._links.explain()}." if self._links is not None else ""

    def tell(self, reason: str, to: Sequence[Party] | None = None, *, last_words: bool = False) -> None:
        """Have the other parties, or some of them, end now, not when they have waited long enough. Never raises.

        :param last_words: whoever has left need not hear it
        """
        from airflow_provider_fate.hooks.peers import tell_peers

        try:
            tell_peers(
                self.config, self._job_id, self._me, to or self._parties, self.nonce, reason, last_words=last_words
            )
        except Exception as error:  # noqa: BLE001 - they find out by themselves, later
            self._log.warning("The other parties could not be told: %s", error)

    def remove_left(self, seconds: float, *, for_absent: bool) -> None:
        """Remove what the application, which was killed, has left. Never raises.

        :param for_absent: also what it has made for peers that are not there
        """
        from airflow_provider_fate.hooks.peers import remove_left

        try:
            remove_left(self.config, self._job_id, self._me, self._parties, max(0.2, seconds), for_absent=for_absent)
        except Exception as error:  # noqa: BLE001 - nothing depends on it
            self._log.warning("%s", error)
