"""The pages people look at: server-rendered HTML behind a login, the feed kept live by server-sent events."""
