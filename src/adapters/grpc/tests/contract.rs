//! The numbers and types of every field are those that existing services know.

use std::fmt::Write as _;
use std::path::Path;

/// SPEC's table. A line that changes here breaks services that work today.
const CONTRACT: &str = "\
Address: hostname 1 string, port 2 uint32
ApplyRequest: client 1 ClientInfo, player 2 PlayerInfo, targets 3 repeated Target
ApplyResponse: targets 1 Targets of reason, key 2 string of reason
AuthenticationRequest: client 1 ClientInfo, player 2 PlayerInfo, shared_secret 3 bytes, encoded_public 4 bytes
AuthenticationResponse: profile 1 Profile of reason, key 2 string of reason
ClientInfo: client_address 1 Address, server_address 2 Address, protocol_version 3 uint64
LocalizationRequest: locale 1 optional string, key 2 string, params 3 map<string, string>
LocalizationResponse: message 1 string
MetaEntry: key 1 string, value 2 string
PlayerEntry: name 1 string, id 2 string
PlayerInfo: name 1 string, id 2 string
Players: online 1 uint32, max 2 uint32, samples 3 repeated PlayerEntry
Profile: id 1 string, name 2 string, properties 3 repeated ProfileProperty, profile_actions 4 repeated string
ProfileProperty: name 1 string, value 2 string, signature 3 optional string
ProtocolVersion: name 1 string, protocol 2 int32
SelectRequest: client_address 1 Address, server_address 2 Address, protocol 3 uint64, username 4 string, \
user_id 5 string, targets 6 repeated Target
SelectResponse: target 1 optional Target
StatusData: version 1 ProtocolVersion, players 2 optional Players, description 3 optional string, \
favicon 4 optional bytes, enforces_secure_chat 5 optional bool
StatusRequest: client_address 1 Address, server_address 2 Address, protocol 3 uint64
StatusResponse: status 1 optional StatusData
Target: identifier 1 string, address 2 Address, meta 3 repeated MetaEntry, priority 4 uint32
TargetRequest: client 1 ClientInfo
Targets: targets 1 repeated Target
TargetsResponse: targets 1 repeated Target
Authentication/Authenticate: AuthenticationRequest, AuthenticationResponse
Discovery/GetTargets: TargetRequest, TargetsResponse
DiscoveryAction/Apply: ApplyRequest, ApplyResponse
Localization/Localize: LocalizationRequest, LocalizationResponse
Status/GetStatus: StatusRequest, StatusResponse
Strategy/SelectTarget: SelectRequest, SelectResponse
";

#[test]
fn every_field_has_the_number_and_the_type_that_existing_services_know() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/adapters/grpc/proto");
    let files = super::freshness::FILES.map(|file| root.join(format!("adapter/{file}.proto")));
    let descriptors = protox::compile(files, [root]).unwrap();
    let (mut messages, mut services) = (Vec::new(), Vec::new());
    for file in &descriptors.file {
        assert_eq!(file.package(), "scrayosnet.passage.adapter");
        messages.extend(file.message_type.iter().map(|message| {
            let fields: Vec<_> = message.field.iter().map(|field| line(message, field)).collect();
            format!("{}: {}\n", message.name(), fields.join(", "))
        }));
        for service in &file.service {
            for method in &service.method {
                let mut line = format!("{}/{}: ", service.name(), method.name());
                let (question, answer) = (short(method.input_type()), short(method.output_type()));
                writeln!(line, "{question}, {answer}").unwrap();
                assert!(!method.client_streaming() && !method.server_streaming());
                services.push(line);
            }
        }
    }
    messages.sort_unstable();
    services.sort_unstable();
    assert_eq!(messages.concat() + &services.concat(), CONTRACT);
}

fn line(message: &prost_types::DescriptorProto, field: &prost_types::FieldDescriptorProto) -> String {
    use prost_types::field_descriptor_proto::Label;
    let kind = match field.type_name() {
        "" => format!("{:?}", field.r#type()).to_lowercase(),
        name if name.ends_with("Entry") && message.nested_type.len() == 1 => "map<string, string>".into(),
        name => short(name).to_owned(),
    };
    let is_map = kind.starts_with("map");
    let before = match field.label() {
        Label::Repeated if !is_map => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ => "",
    };
    let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
    let after = oneof.map_or(String::new(), |_| format!(" of {}", message.oneof_decl[0].name()));
    format!("{} {} {before}{kind}{after}", field.name(), field.number())
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
