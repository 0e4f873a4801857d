# services.hermes-agent.desktop: what an agent on a desktop needs of the machine, and no more. It may write to
# /dev/uinput, its portals are there, and on the system bus it may talk to the names that are declared.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hermes-agent;
  people = lib.unique (lib.optional cfg.enable cfg.user ++ cfg.desktop.users);

  # dbus-daemon(1): a policy for a user. Names are checked by an assertion, so that they end no attribute.
  policy = user: ''
    <policy user="${user}">
    ${lib.concatMapStrings (name: "  <allow send_destination=\"${name}\"/>\n") cfg.desktop.names}</policy>
  '';
  rules = pkgs.writeTextDir "share/dbus-1/system.d/hermes-agent.conf" ''
    <!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
     "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
    <busconfig>
    ${lib.concatMapStrings policy people}</busconfig>
  '';
in
{
  config = lib.mkIf cfg.desktop.enable {
    assertions = [
      {
        assertion = lib.all (
          name: builtins.match "[A-Za-z_-][A-Za-z0-9_-]*([.][A-Za-z_-][A-Za-z0-9_-]*)+" name != null
        ) cfg.desktop.names;
        message = "services.hermes-agent.desktop.names: a name on the bus has letters, digits, - and _, and dots between.";
      }
      {
        assertion = people != [ ];
        message = ''
          services.hermes-agent.desktop.enable gives nobody anything: name the people whose own hermesd (Home Manager)
          it is for in desktop.users, or enable the service.'';
      }
    ];

    # Makes the group `uinput` and lets it write to /dev/uinput.
    hardware.uinput.enable = true;
    users.users = lib.genAttrs people (_: {
      extraGroups = [ "uinput" ];
    });

    xdg.portal = {
      enable = true;
      # NixOS wants one, and asks for it by an assertion.
      extraPortals =
        if cfg.desktop.portals == [ ] then lib.mkDefault [ pkgs.xdg-desktop-portal-gtk ] else cfg.desktop.portals;
    };

    services.dbus = {
      enable = true;
      packages = lib.optional (cfg.desktop.names != [ ]) rules;
    };
  };
}
