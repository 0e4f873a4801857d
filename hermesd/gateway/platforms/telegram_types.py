"""The parts of Bot API objects that are read (core.telegram.org/bots/api#available-types)."""

from __future__ import annotations

import msgspec


class User(msgspec.Struct, frozen=True):
    """A person or bot."""

    id: int
    is_bot: bool = False
    username: str = ""
    first_name: str = ""


class Chat(msgspec.Struct, frozen=True):
    """A chat; ``type`` is private, group, supergroup or channel."""

    id: int
    type: str = "private"
    username: str = ""
    is_forum: bool = False

    @property
    def is_private(self) -> bool:
        """Between the bot and one person."""
        return self.type == "private"


class Entity(msgspec.Struct, frozen=True):
    """A marked stretch of a text; ``offset`` and ``length`` count UTF-16 units."""

    type: str
    offset: int
    length: int
    user: User | None = None

    def text_in(self, text: str) -> str:
        """The stretch itself."""
        encoded = text.encode("utf-16-le", "surrogatepass")
        return encoded[2 * self.offset : 2 * (self.offset + self.length)].decode("utf-16-le", "replace")


class Origin(msgspec.Struct, frozen=True):
    """The message that was replied to."""

    sender: User | None = msgspec.field(default=None, name="from")


class Message(msgspec.Struct, frozen=True):
    """An incoming message."""

    message_id: int
    chat: Chat
    sender: User | None = msgspec.field(default=None, name="from")
    text: str = ""
    caption: str = ""
    entities: list[Entity] = []
    caption_entities: list[Entity] = []
    message_thread_id: int = 0
    is_topic_message: bool = False
    reply_to_message: Origin | None = None
    new_chat_members: list[msgspec.Raw] = []
    left_chat_member: msgspec.Raw | None = None
    pinned_message: msgspec.Raw | None = None

    @property
    def thread(self) -> str:
        """The topic's id, or ''. A supergroup without topics numbers its reply chains too; those are no topics."""
        is_topic = self.is_topic_message or self.chat.is_forum or self.chat.is_private
        return str(self.message_thread_id) if self.message_thread_id and is_topic else ""

    @property
    def is_service(self) -> bool:
        """Told by Telegram, not written by anybody."""
        return bool(self.new_chat_members or self.left_chat_member or self.pinned_message)


class Update(msgspec.Struct, frozen=True):
    """An update; other kinds than ``message`` are passed over."""

    update_id: int
    message: Message | None = None


class UpdateId(msgspec.Struct, frozen=True):
    """What every update has, however odd the rest of it."""

    update_id: int
