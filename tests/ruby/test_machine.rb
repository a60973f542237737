# frozen_string_literal: true

require "captured"
require "tmpdir"

# What follows from the settings and from the host.
class TestMachine < Minitest::Test
  include Captured

  def setup
    @root = Dir.mktmpdir
    FileUtils.mkdir_p("#{@root}/vagrant")
    FileUtils.cp("vagrant/settings.yml", "#{@root}/vagrant/")
  end

  def teardown
    FileUtils.remove_entry(@root)
  end

  def machine(os: "linux-gnu", **environment)
    host = bridges(os, "VBoxManage list bridgedifs" => "linux_bridgedifs.txt",
                       "ip route show default" => "linux_routes.json")
    Kit::Machine.new(@root, environment: environment.transform_keys(&:to_s), bridges: host)
  end

  def test_fixed_address_gets_the_bridges_prefix
    one = machine(KIT_VM_ADDRESS: "192.168.178.50")
    assert_includes one.lan_arguments(one.bridge(:virtualbox)), "192.168.178.50/24"
  end

  def test_fixed_address_must_be_a_free_one_of_the_bridges_subnet
    %w[192.168.1.50 192.168.178.0 192.168.178.255 192.168.178.20].each do |address|
      text = mistake { machine(KIT_VM_ADDRESS: address).bridge(:virtualbox) }
      assert_includes text, address
      assert_includes text, "between 192.168.178.0 and 192.168.178.255 (/24)"
    end
  end

  def test_nodes_have_addresses_and_cards_in_a_row
    three = machine(NODES: "3", KIT_VM_ADDRESS: "192.168.178.50", KIT_VM_MAC: "52:54:00:ab:cd:ff")
    bridge = three.bridge(:virtualbox)
    arguments = (1..3).map { |node| three.lan_arguments(bridge, node) }
    assert_equal %w[192.168.178.50/24 192.168.178.51/24 192.168.178.52/24], (arguments.map { |words| words[5] })
    assert_equal %w[525400ABCDFF 525400ABCE00 525400ABCE01], (arguments.map { |words| words[1] })
    text = mistake { machine(NODES: "3", KIT_VM_ADDRESS: "192.168.178.18").bridge(:virtualbox) }
    assert_includes text, "192.168.178.20 is not a free address"
  end

  def test_nodes_are_as_many_as_named_and_never_fewer_than_there_are
    assert_equal({ 1 => "default" }, machine.nodes)
    assert_equal %w[default server-2 server-3], machine(NODES: "3").nodes.values
    assert_includes mistake { machine(NODES: "2").nodes }, "NODES=2 is not allowed; 1, 3, 5 are"
    FileUtils.mkdir_p("#{@root}/.vagrant/machines/server-2/libvirt")
    FileUtils.touch("#{@root}/.vagrant/machines/server-2/libvirt/id")
    assert_equal 3, machine.nodes.length, "the third was not made, as `vagrant up` was cut off"
    assert_equal 3, machine(NODES: "1").nodes.length
  end

  def test_wifi_is_warned_about
    _, warning = capture_io { machine(KIT_VM_BRIDGE: "wlp4s0").bridge(:virtualbox) }
    assert_match(/wlp4s0 is Wi-Fi: many access points/, warning)
    assert_silent { machine.bridge(:virtualbox) }
  end

  def test_mac_is_kept_and_of_local_making
    first = machine.mac
    assert_match(/\A02574B\h{6}\z/, first)
    assert_equal first, machine.mac
    assert_equal "525400ABCDEF", machine(KIT_VM_MAC: "52:54:00:ab:cd:ef").mac
  end

  def test_box_is_pinned_for_each_provider_and_architecture
    assert_equal({ box: "bento/ubuntu-24.04", box_version: "202510.26.0", box_architecture: "arm64" },
                 machine.box("virtualbox", "2.4.9", "arm64"))
    %w[virtualbox libvirt].product(%w[x86_64 aarch64]).each do |provider, cpu|
      assert_match(/\A\d{6,8}\.\d+\.0\z/, machine.box(provider, "2.4.0", cpu)[:box_version])
    end
  end

  def test_older_vagrant_is_given_the_architectures_own_address
    box = machine.box("libvirt", "2.3.4", "x86_64")
    assert_equal "cloud-image/ubuntu-24.04-20260926.0.0-amd64", box[:box]
    assert_equal "https://vagrantcloud.com/cloud-image/boxes/ubuntu-24.04/versions/20260926.0.0/" \
                 "providers/libvirt/amd64/vagrant.box", box[:box_url]
    refute_includes box, :box_version
  end

  def test_libvirt_is_given_firmware_on_arm64_only
    assert_empty machine.libvirt_board("x86_64", [])
    firmware = "#{@root}/vagrant/settings.yml"
    board = machine.libvirt_board("aarch64", ["/nowhere", firmware])
    assert_equal [firmware, "virt"], board.values_at(:loader, :machine_type)
    assert_includes mistake { machine.libvirt_board("arm64", ["/nowhere"]) }, "apt-get install qemu-efi-aarch64"
  end

  def test_own_box
    assert_equal({ box: "mine" }, machine(KIT_VM_BOX: "mine").box("libvirt", "2.3.4"))
  end

  def test_provider_is_the_named_the_existing_or_the_one_whose_program_is_there
    assert_equal "libvirt", machine.provider(%w[up --provider=libvirt])
    assert_equal "libvirt", machine(VAGRANT_DEFAULT_PROVIDER: "libvirt").provider(%w[up])
    assert_equal "libvirt", machine.provider(%w[up]), "no VBoxManage here"
    assert_includes mistake { machine.provider(%w[up --provider vmware]) }, "valid are: virtualbox, libvirt"
    FileUtils.mkdir_p("#{@root}/.vagrant/machines/default/virtualbox")
    FileUtils.touch("#{@root}/.vagrant/machines/default/virtualbox/id")
    assert_equal "virtualbox", machine.provider(%w[halt])
  end

  def test_what_the_guest_wrote_comes_to_the_host_without_its_downloads
    guest = Dir.mktmpdir
    FileUtils.mkdir_p(["#{guest}/.kit/secrets", "#{guest}/.kit/cache", "#{guest}/.kit/logs"])
    ["instance.json", "secrets/redis_webdis", "cache/archive.tar.gz", "logs/log"].each do |name|
      File.write("#{guest}/.kit/#{name}", name)
    end
    File.chmod(0o600, "#{guest}/.kit/secrets/redis_webdis")
    FileUtils.mkdir_p("#{@root}/.kit")
    File.write("#{@root}/.kit/instance.json", "an older one")
    machine.fetch(Communicator.new, guest)
    came = Dir.glob("**/*", base: "#{@root}/.kit").reject { |name| File.directory?("#{@root}/.kit/#{name}") }
    assert_equal %w[instance.json secrets/redis_webdis], came.sort
    assert_equal "instance.json", File.read("#{@root}/.kit/instance.json")
    assert_equal 0o600, File.stat("#{@root}/.kit/secrets/redis_webdis").mode & 0o777
    assert_raises(RuntimeError) { machine.fetch(Communicator.new, "#{guest}/gone") }
  ensure
    FileUtils.remove_entry(guest)
  end

  # What a machine's communicator does there, done here.
  class Communicator
    def sudo(command)
      yield :stdout, IO.popen(["bash", "-c", command], err: File::NULL, &:read)
      raise "it failed" unless $?.success?
    end
  end

  def test_ansible_runs_in_the_guest_on_windows
    assert_equal "guest", machine(os: "mingw32").ansible
    assert_equal "host", machine.ansible
    assert_equal "later", machine(KIT_ANSIBLE: "later").ansible
    assert_includes mistake { machine(KIT_ANSIBLE: "here").ansible }, "valid are: host, guest, later"
    own = { KIT_ANSIBLE: "guest", TLS_CERTIFICATE: "own.pem" }
    assert_includes mistake { machine(**own).ansible }, "TLS_CERTIFICATE=own.pem cannot be used here"
    several = { KIT_ANSIBLE: "guest", NODES: "3" }
    assert_includes mistake { machine(**several).ansible }, "NODES=3 cannot be used here"
  end
end
