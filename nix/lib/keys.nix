# `settings` against nix/config-keys.json, which is made from the schema: what has a wrong type is told when the machine
# is evaluated, not when the service starts. Keys that are not in the schema pass: hermesd takes those of a hermes-agent
# home with a notice and refuses the others, with the nearest name. Pure builtins.
let
  inherit (builtins)
    attrNames
    concatMap
    elem
    filter
    head
    isAttrs
    isBool
    isFloat
    isInt
    isList
    isPath
    isString
    match
    split
    tail
    ;
  known = builtins.fromJSON (builtins.readFile ../config-keys.json);

  # The keys as a tree: {children, leaf}. "<name>" is any name, and "[]" each element of a list.
  parts =
    key: filter (part: isString part && part != "") (concatMap (part: if isString part then dashed part else [ ]) (split "[.]" key));
  dashed =
    part:
    let
      list = match "(.*)\\[]" part;
    in
    if list == null then
      [ part ]
    else
      [
        (head list)
        "[]"
      ];
  insert =
    path: leaf: node:
    if path == [ ] then
      node // { inherit leaf; }
    else
      node
      // {
        children = (node.children or { }) // {
          ${head path} = insert (tail path) leaf ((node.children or { }).${head path} or { });
        };
      };
  tree = builtins.foldl' (node: key: insert (parts key) known.${key} node) { } (attrNames known);

  words = {
    bool = "true or false";
    int = "a whole number";
    number = "a number";
    text = "text";
    list = "a list";
    map = "a set of names";
  };
  expected =
    leaf:
    if leaf.type == "choice" then
      "one of ${builtins.concatStringsSep ", " leaf.choices}"
    else if leaf.type == "either" then
      builtins.concatStringsSep " or " (map (name: words.${name}) leaf.of)
    else
      words.${leaf.type} or "a value";

  isReference = value: isString value && match ".*[$][{].*" value != null;
  holds =
    type: value:
    {
      bool = isBool value;
      int = isInt value;
      number = isInt value || isFloat value;
      text = isString value || isPath value;
      list = isList value;
      map = isAttrs value;
    }
    .${type} or true;

  # Messages for what a leaf cannot be. Null says nothing, and a reference to a variable may turn out as anything.
  leafWrong =
    at: leaf: value:
    let
      no = [ "${at} must be ${expected leaf}" ];
    in
    if value == null || isReference value || leaf.type == "any" then
      [ ]
    else if leaf.type == "choice" then
      if elem value leaf.choices then [ ] else no
    else if leaf.type == "either" then
      if builtins.any (type: holds type value) leaf.of then [ ] else no
    else if !(holds leaf.type value) then
      no
    else if leaf.type == "list" then
      concatMap (leafWrong "${at}[]" leaf.item) value
    else if leaf.type == "map" then
      concatMap (name: leafWrong "${at}.${name}" leaf.item value.${name}) (attrNames value)
    else
      [ ];

  below =
    at: node: value:
    if node ? leaf then
      leafWrong at node.leaf value
    else if value == null || isReference value then
      [ ]
    else if node.children ? "[]" then
      if isList value then concatMap (below "${at}[]" node.children."[]") value else [ "${at} must be a list" ]
    else if !(isAttrs value) then
      [ "${at} must be a set of keys" ]
    else
      concatMap (
        name:
        let
          child = node.children.${name} or node.children."<name>" or null;
        in
        if child == null then [ ] else below (if at == "" then name else "${at}.${name}") child value.${name}
      ) (attrNames value);
in
{
  inherit known;

  # settings → what is wrong with them, a sentence each.
  wrong = below "" tree;
}
