# frozen_string_literal: true

require "captured"

# Which interface of the host is taken, and what is said when none can be.
class TestBridge < Minitest::Test
  include Captured

  def linux(routes: "linux_routes.json")
    bridges("linux-gnu", "VBoxManage list bridgedifs" => "linux_bridgedifs.txt",
                         "ip route show default" => routes, "ip address" => "linux_addresses.json")
  end

  def test_linux_takes_the_default_route_with_the_lowest_metric
    bridge = linux.virtualbox("")
    assert_equal ["enp3s0", "192.168.178.20", false], [bridge.name, bridge.address, bridge.wireless]
    assert_equal IPAddr.new("192.168.178.0/24"), bridge.subnet
  end

  def test_linux_passes_over_a_vpn_that_cannot_be_bridged_to
    assert_equal "enp3s0", linux(routes: "linux_routes_vpn.json").virtualbox("").name
  end

  def test_equal_routes_are_listed_with_the_line_to_add
    text = mistake { linux(routes: "linux_routes_equal.json").virtualbox("") }
    assert_includes text, "enp3s0, enp5s0"
    assert_includes text, 'vagrant/settings.local.yml: `bridge: "enp3s0"`'
  end

  def test_a_named_one_wins
    assert_equal "wlp4s0", linux.virtualbox("wlp4s0").name
    assert linux.virtualbox("wlp4s0").wireless
  end

  def test_a_named_one_without_link_or_unknown_is_refused_with_the_valid_ones
    %w[enp6s0 eth9].each do |name|
      text = mistake { linux.virtualbox(name) }
      assert_includes text, name
      assert_includes text, "valid are: enp3s0, enp5s0, wlp4s0"
    end
  end

  def test_without_virtualbox_it_says_so
    assert_includes mistake { bridges("linux-gnu", {}).virtualbox("") }, "VirtualBox is not installed"
  end

  def test_macos_uses_virtualboxs_own_name
    macos = bridges("darwin23", "VBoxManage list bridgedifs" => "macos_bridgedifs.txt",
                                "route -n get default" => "macos_route.txt")
    bridge = macos.virtualbox("")
    assert_equal "en0: Wi-Fi", bridge.name
    assert bridge.wireless
    assert_equal "en5: USB 10/100/1000 LAN", macos.virtualbox("en5").name
  end

  def windows(routes)
    bridges("mingw32", "VBoxManage list bridgedifs" => "windows_bridgedifs.txt", "powershell" => routes)
  end

  def test_windows_takes_the_adapters_description
    assert_equal "Realtek PCIe GbE Family Controller #2", windows("windows_routes.json").virtualbox("").name
  end

  def test_windows_with_one_route_prints_no_list
    bridge = windows("windows_route_wifi.json").virtualbox("")
    assert_equal "Intel(R) Wi-Fi 6 AX201 160MHz", bridge.name
    assert bridge.wireless
  end

  def test_libvirt_wants_a_linux_bridge
    text = mistake { linux.libvirt("") }
    assert_includes text, "does not go over a Linux bridge"
    assert_includes text, "valid are: br0, virbr0"
    assert_includes mistake { linux.libvirt("enp3s0") }, "valid are: br0, virbr0"
  end

  def test_libvirt_takes_the_bridge_with_the_default_route
    bridge = linux(routes: "linux_routes_bridge.json").libvirt("")
    assert_equal ["br0", IPAddr.new("192.168.178.0/24")], [bridge.name, bridge.subnet]
  end
end
