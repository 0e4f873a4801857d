"""Keys of a hermes-agent config.yaml that have no meaning here: accepted, with a notice, so that its home opens.

``RENAMED`` names the key that does the same in hermesd. Sections are named by their struct, so that the same holds
wherever that section may stand.
"""

from __future__ import annotations

from hermesd.config import schema


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOP = _words(
    """_config_version agents approvals attachments auth auxiliary bedrock bots browser checkpoints code_execution
    command_allowlist compression context context_engine credential_pool_strategies cron curator custom_providers
    dashboard database delegation desktop discord display email environment fallback_model fallback_models feishu
    file_read_max_chars gateway goals google_chat group_sessions_per_user home_channel honcho hooks hooks_auto_accept
    human_delay image_gen kanban knowledge language local logging lsp matrix mattermost max_concurrent_sessions
    max_live_sessions max_turns mcp mcp_discovery_timeout memory messaging mixture_of_agents moa
    model_aliases model_catalog multiplex_profiles network onboarding openrouter paste_collapse_char_threshold
    paste_collapse_threshold personalities platform_toolsets portal prefill_messages_file privacy
    profile profiles project_context prompt_caching provider_routing providers proxy qqbot quick_commands reasoning
    redaction reset_triggers runtime sampling search secrets security session session_reset sessions signal skills slack
    smart_model_routing sms stt streaming system_prompt teams telegram telemetry thread_sessions_per_user timeouts
    title tool_budget tool_loop_guardrails tool_output tools tts tui ui unauthorized_dm_behavior updates
    verbose video_gen vision voice wake_word web web_search webhooks wecom whatsapp worktree worktree_sync x_search
    yuanbao"""
)

MODEL = _words(
    """api_mode auth_mode entra streaming context_length max_tokens ollama_num_ctx default_headers extra_headers
    extra_body temperature top_p openai_runtime aliases bedrock session_affinity_header key_cmd request_timeout_seconds
    stale_timeout_seconds models reasoning_overrides"""
)

AGENT = _words(
    """agent_cache api_max_retries auto_recovery_cycles bot_mode_protocol budget_warning_ratio build_wait_timeout
    clarify_timeout coding_context coding_instructions cron_drain_timeout disabled_toolsets empty_response_guard
    environment_hint environment_probe execution_guidance fast_auto_seconds gateway_auto_continue_freshness
    gateway_notify_interval gateway_startup_restore_drain_timeout gateway_startup_warmup_timeout gateway_timeout
    gateway_timeout_warning gateway_turn_lease_timeout image_input_mode intent_ack_continuation max_tokens
    max_verify_nudges parallel_tool_call_guidance personalities reasoning_effort reasoning_overrides
    reconnect_attention_after restart_after_turn_timeout restart_drain_timeout run_budget_seconds
    sanitizer_heal_escalation_threshold save_trajectories service_tier session_stall_timeout stall_guards
    task_completion_guidance tool_use_enforcement verbose verify_guidance verify_on_stop prefill_messages_file
    local_stream_stale_timeout"""
)

TERMINAL = _words(
    """auto_source_bashrc container_cpu container_disk container_memory container_persistent daytona_image
    docker_env docker_extra_args docker_forward_env docker_image docker_mount_cwd_to_workspace docker_network
    docker_orphan_reaper docker_persist_across_processes docker_run_as_host_user docker_volumes font_family home_mode
    lifetime_seconds modal_image modal_mode persistent_shell shell_init_files singularity_image ssh_host ssh_key
    ssh_persistent ssh_port ssh_user sudo_password vercel_runtime"""
)

PLATFORMS = _words(
    """api_server bluebubbles dingtalk email feishu google_chat homeassistant irc line local matrix mattermost
    msgraph_webhook ntfy qqbot signal simplex teams wecom wecom_callback weixin whatsapp whatsapp_cloud yuanbao"""
)

_ANY_PLATFORM = _words(
    """allow_all_users api_key channel_overrides channel_prompts channel_skill_bindings dm_policy
    gateway_restart_notification group_policy reply_to_mode require_mention session_reset typing_indicator
    unauthorized_dm_behavior"""
)

TELEGRAM = _ANY_PLATFORM | _words(
    """allow_cjk_rich_messages allow_from allowed_topics base_file_url command_menu disable_link_previews
    disable_topic_auto_rename dm_topics drop_pending_on_cold_boot exclusive_bot_mentions fallback_ips
    free_response_chats group_allow_from group_allowed_chats group_topics guest_mode ignore_root_dm ignored_threads
    local_mode mention_patterns observe_unmentioned_group_messages pool_size proxy proxy_url reactions rich_drafts
    rich_messages status_indicator text_batch_delay_seconds typing webhook_port webhook_secret webhook_url"""
)

SLACK = _ANY_PLATFORM | _words(
    """allow_bots allow_from allowed_channels allowed_users app_token assistant_thread_titles cron_continuable_surface
    dm_top_level_threads_as_sessions feedback_buttons free_response_channels mention_patterns native_task_cards
    reactions reply_broadcast reply_in_thread rich_blocks signing_secret streaming strict_mention suggested_prompts"""
)

DISCORD = _ANY_PLATFORM | _words(
    """ack_enabled ack_phrases allow_admin_from allow_any_attachment allow_bots allow_from allow_mentions
    allowed_channels allowed_users ambient_enabled ambient_gain ambient_path approval_mentions approvals auto_thread
    bots_require_inline_mention discord_prompt_timeout dm_role_auth_guild duck_gain free_response_channels
    group_sessions_per_user history_backfill history_backfill_limit ignored_channels max_attachment_bytes
    missed_message_backfill no_thread_channels reactions require_admin_for_exec_approval slash_commands speech_gain
    streaming thread_require_mention thread_sessions_per_user voice_fx"""
)

SMS = _ANY_PLATFORM | _words("""allow_from allowed_users webhook_host webhook_port webhook_url""")

WEBHOOK = _ANY_PLATFORM | frozenset({"idempotency_ttl", "rate_limit", "script_timeout_seconds", "public_url"})

ROUTE = _words("""created_at idempotency_key_header script source""")

MCP_SERVER = frozenset({"max_lifetime_seconds", "skip_preflight", "supports_parallel_tool_calls"})

NARROWING = frozenset({"script"})
"""Keys of a route that hold events back: a route with one of them is kept disabled rather than run on everything."""

KNOWN: dict[type[schema.Section], frozenset[str]] = {
    schema.Config: TOP,
    schema.ModelConfig: MODEL,
    schema.AgentConfig: AGENT,
    schema.TerminalConfig: TERMINAL,
    schema.PlatformsConfig: PLATFORMS,
    schema.TelegramConfig: TELEGRAM,
    schema.SlackConfig: SLACK,
    schema.DiscordConfig: DISCORD,
    schema.SmsConfig: SMS,
    schema.WebhookConfig: WEBHOOK,
    schema.WebhookRoute: ROUTE,
    schema.McpServerConfig: MCP_SERVER,
    schema.McpSamplingConfig: frozenset({"log_level"}),
    schema.PluginsConfig: frozenset({"entries"}),
    schema.McpOAuthConfig: frozenset({"redirect_host"}),
}

ALIASES: dict[type[schema.Section], dict[str, str]] = {
    schema.ModelConfig: {"model": "default", "name": "default"},
    schema.TelegramConfig: {"bot_token": "token"},
    schema.SlackConfig: {"bot_token": "token"},
    schema.DiscordConfig: {"bot_token": "token"},
    schema.WebhookRoute: {"auth": "scheme"},
}
"""Other names of the same key."""

RENAMED: dict[tuple[type[schema.Section], str], str] = {
    (schema.Config, "max_turns"): "agent.max_turns",
    (schema.Config, "system_prompt"): "agent.system_prompt",
    (schema.Config, "platform_toolsets"): "toolsets",
    (schema.Config, "approvals"): "policy",
    (schema.Config, "fallback_model"): "fallback_providers",
    (schema.Config, "telegram"): "platforms.telegram",
    (schema.Config, "slack"): "platforms.slack",
    (schema.Config, "discord"): "platforms.discord",
    (schema.Config, "sms"): "platforms.sms",
    (schema.ModelConfig, "max_tokens"): "model.max_output_tokens",
    (schema.AgentConfig, "reasoning_effort"): "model.reasoning_effort",
    (schema.AgentConfig, "restart_drain_timeout"): "shutdown.drain_s",
    (schema.AgentConfig, "api_max_retries"): "model.max_attempts",
    (schema.AgentConfig, "clarify_timeout"): "policy.ask_timeout_s",
    (schema.McpServerConfig, "max_lifetime_seconds"): "mcp_servers.<name>.idle_timeout_seconds",
    (schema.McpServerConfig, "supports_parallel_tool_calls"): "mcp_servers.<name>.max_concurrent_calls",
    (schema.McpOAuthConfig, "redirect_host"): "mcp_servers.<name>.oauth.redirect_uri",
    (schema.TelegramConfig, "allow_from"): "platforms.telegram.allowed_users",
    (schema.WebhookConfig, "rate_limit"): "platforms.webhook.rate_per_minute",
}
"""What does the same here, for the notice."""
