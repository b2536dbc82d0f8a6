/**
 * Facts about Windows event logs: which channel is which Sigma service, which event id of Sysmon and PowerShell is which
 * category. Source: Sigma taxonomy appendix 2.1.0, "Windows Folder"; Microsoft's and Sysmon's documentation of the ids.
 */

/** Channel in lower case → service. */
export const SERVICE_OF_CHANNEL: ReadonlyMap<string, string> = new Map(
  Object.entries({
    application: ['Application'],
    'application-experience': [
      'Microsoft-Windows-Application-Experience/Program-Telemetry',
      'Microsoft-Windows-Application-Experience/Program-Compatibility-Assistant',
    ],
    applocker: [
      'Microsoft-Windows-AppLocker/MSI and Script',
      'Microsoft-Windows-AppLocker/EXE and DLL',
      'Microsoft-Windows-AppLocker/Packaged app-Deployment',
      'Microsoft-Windows-AppLocker/Packaged app-Execution',
    ],
    'appmodel-runtime': ['Microsoft-Windows-AppModel-Runtime/Admin'],
    'appxdeployment-server': ['Microsoft-Windows-AppXDeploymentServer/Operational'],
    'appxpackaging-om': ['Microsoft-Windows-AppxPackaging/Operational'],
    bitlocker: ['Microsoft-Windows-BitLocker/BitLocker Management'],
    'bits-client': ['Microsoft-Windows-Bits-Client/Operational'],
    capi2: ['Microsoft-Windows-CAPI2/Operational'],
    'certificateservicesclient-lifecycle-system': [
      'Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational',
    ],
    'codeintegrity-operational': ['Microsoft-Windows-CodeIntegrity/Operational'],
    dhcp: ['Microsoft-Windows-DHCP-Server/Operational'],
    'diagnosis-scripted': ['Microsoft-Windows-Diagnosis-Scripted/Operational'],
    'dns-client': ['Microsoft-Windows-DNS Client Events/Operational', 'Microsoft-Windows-DNS-Client/Operational'],
    'dns-server': ['DNS Server'],
    'dns-server-analytic': ['Microsoft-Windows-DNS-Server/Analytical'],
    'dns-server-audit': ['Microsoft-Windows-DNS-Server/Audit'],
    'driver-framework': ['Microsoft-Windows-DriverFrameworks-UserMode/Operational'],
    'firewall-as': ['Microsoft-Windows-Windows Firewall With Advanced Security/Firewall'],
    'hyper-v-worker': ['Microsoft-Windows-Hyper-V-Worker', 'Microsoft-Windows-Hyper-V-Worker-Admin'],
    'iis-configuration': ['Microsoft-IIS-Configuration/Operational'],
    'kernel-event-tracing': ['Microsoft-Windows-Kernel-EventTracing', 'Microsoft-Windows-Kernel-EventTracing/Admin'],
    'kernel-shimengine': [
      'Microsoft-Windows-Kernel-ShimEngine/Operational',
      'Microsoft-Windows-Kernel-ShimEngine/Diagnostic',
    ],
    ldap: ['Microsoft-Windows-LDAP-Client/Debug'],
    'lsa-server': ['Microsoft-Windows-LSA/Operational'],
    'msexchange-management': ['MSExchange Management'],
    ntfs: ['Microsoft-Windows-Ntfs/Operational'],
    ntlm: ['Microsoft-Windows-NTLM/Operational'],
    openssh: ['OpenSSH/Operational'],
    powershell: ['Microsoft-Windows-PowerShell/Operational', 'PowerShellCore/Operational'],
    'powershell-classic': ['Windows PowerShell'],
    'printservice-admin': ['Microsoft-Windows-PrintService/Admin'],
    'printservice-operational': ['Microsoft-Windows-PrintService/Operational'],
    security: ['Security'],
    'security-mitigations': [
      'Microsoft-Windows-Security-Mitigations/Kernel Mode',
      'Microsoft-Windows-Security-Mitigations/User Mode',
      'Microsoft-Windows-Security-Mitigations/KernelMode',
      'Microsoft-Windows-Security-Mitigations/UserMode',
    ],
    sense: ['Microsoft-Windows-SENSE/Operational'],
    'servicebus-client': ['Microsoft-ServiceBus-Client/Operational', 'Microsoft-ServiceBus-Client/Admin'],
    'shell-core': ['Microsoft-Windows-Shell-Core/Operational'],
    'smbclient-connectivity': ['Microsoft-Windows-SmbClient/Connectivity'],
    'smbclient-security': ['Microsoft-Windows-SmbClient/Security'],
    'smbserver-connectivity': ['Microsoft-Windows-SMBServer/Connectivity'],
    sysmon: ['Microsoft-Windows-Sysmon/Operational', 'Linux-Sysmon/Operational'],
    system: ['System'],
    taskscheduler: ['Microsoft-Windows-TaskScheduler/Operational'],
    'terminalservices-localsessionmanager': ['Microsoft-Windows-TerminalServices-LocalSessionManager/Operational'],
    vhdmp: ['Microsoft-Windows-VHDMP/Operational', 'Microsoft-Windows-VHDMP-Operational'],
    windefend: ['Microsoft-Windows-Windows Defender/Operational'],
    wmi: ['Microsoft-Windows-WMI-Activity/Operational'],
  }).flatMap(([service, channels]) => channels.map((channel) => [channel.toLowerCase(), service] as const)),
)

/** Provider in lower case → service, for records that lost their channel. */
export const SERVICE_OF_PROVIDER: ReadonlyMap<string, string> = new Map([
  ['microsoft-windows-sysmon', 'sysmon'],
  ['linux-sysmon', 'sysmon'],
  ['microsoft-windows-security-auditing', 'security'],
  ['service control manager', 'system'],
  ['microsoft-windows-powershell', 'powershell'],
  ['powershellcore', 'powershell'],
  ['powershell', 'powershell-classic'],
  ['microsoft-windows-taskscheduler', 'taskscheduler'],
  ['microsoft-windows-wmi-activity', 'wmi'],
  ['microsoft-windows-windows defender', 'windefend'],
  ['microsoft-windows-bits-client', 'bits-client'],
  ['microsoft-windows-ntlm', 'ntlm'],
  ['microsoft-windows-codeintegrity', 'codeintegrity-operational'],
])

const REGISTRY_12: Readonly<Record<string, string>> = {
  createkey: 'registry_add',
  deletekey: 'registry_delete',
  deletevalue: 'registry_delete',
}

/** Categories of a Sysmon event id. `eventType`: the field of that name, which tells the three meanings of id 12 apart. */
export function sysmonCategories(id: number, eventType: string): readonly string[] {
  if (id === 12) {
    const meant = REGISTRY_12[eventType.toLowerCase()]
    return meant === undefined ? ['registry_event', 'registry_add', 'registry_delete'] : ['registry_event', meant]
  }
  return SYSMON.get(id) ?? []
}

const SYSMON: ReadonlyMap<number, readonly string[]> = new Map([
  [1, ['process_creation']],
  [2, ['file_change']],
  [3, ['network_connection']],
  [4, ['sysmon_status']],
  [5, ['process_termination']],
  [6, ['driver_load']],
  [7, ['image_load']],
  [8, ['create_remote_thread']],
  [9, ['raw_access_thread']],
  [10, ['process_access']],
  [11, ['file_event']],
  [13, ['registry_event', 'registry_set']],
  [14, ['registry_event', 'registry_rename']],
  [15, ['create_stream_hash']],
  [16, ['sysmon_status']],
  [17, ['pipe_created']],
  [18, ['pipe_created']],
  [19, ['wmi_event']],
  [20, ['wmi_event']],
  [21, ['wmi_event']],
  [22, ['dns_query']],
  [23, ['file_delete']],
  [24, ['clipboard_capture', 'clipboard_change']],
  [25, ['process_tampering']],
  [26, ['file_delete_detected', 'file_delete']],
  [27, ['file_block_executable']],
  [28, ['file_block_shredding']],
  [29, ['file_executable_detected']],
  [255, ['sysmon_error']],
])

/** Event ids of other services that are a generic category too. */
export const CATEGORIES_OF_SERVICE: Readonly<Record<string, ReadonlyMap<number, readonly string[]>>> = {
  security: new Map([[4688, ['process_creation']]]),
  powershell: new Map([
    [4103, ['ps_module']],
    [4104, ['ps_script']],
  ]),
  'powershell-classic': new Map([
    [400, ['ps_classic_start']],
    [600, ['ps_classic_provider_start']],
    [800, ['ps_classic_script']],
  ]),
  windefend: new Map(
    [1006, 1007, 1008, 1009, 1010, 1011, 1012, 1017, 1018, 1019, 1115, 1116].map((id) => [id, ['antivirus']]),
  ),
}
