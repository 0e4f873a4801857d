# A desktop agent with Home Manager: settings, a document, an MCP server, a watcher, and keys that open the chat.
{ pkgs, ... }:
let
  chat = "${pkgs.foot}/bin/foot --title hermes hermesctl chat";
in
{
  services.hermes-agent = {
    enable = true;
    settings.model.default = "anthropic/claude-sonnet-4";
    environmentFiles = [ "/run/user/1000/secrets/hermes-env" ];
    documents."USER.md" = "Prefers short answers.";
    mcpServers.files = {
      command = "mcp-server-filesystem";
      args = [ "/home/me/notes" ];
    };
    watches.notes = {
      files = [ "/home/me/notes/*.md" ];
      prompt = "What changed in my notes?";
    };
  };

  # Super+Space opens a terminal chat, in Hyprland and in sway.
  wayland.windowManager.hyprland.settings.bind = [ "SUPER, SPACE, exec, ${chat}" ];
  wayland.windowManager.sway.config.keybindings."Mod4+space" = "exec ${chat}";
}
